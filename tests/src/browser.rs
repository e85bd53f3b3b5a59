//! A real browser for tests: Chromium through WebDriver, which is JSON over HTTP.
//!
//! Each browser has a driver and a profile of its own. When a test fails, a screenshot is kept.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use xtask_client::harness;

/// The timeout of every wait. A busy machine starts a browser slowly.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The time between two looks at a page that is expected to change.
const POLL: Duration = Duration::from_millis(25);

/// The name of an element's id in answers of WebDriver.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// How a browser behaves.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Whether pages may run scripts.
    pub scripts: bool,
    /// Width and height of the window.
    pub size: (u32, u32),
    /// Whether the person prefers dark pages.
    pub dark: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { scripts: true, size: (1280, 900), dark: false }
    }
}

/// A running browser with one or more windows.
#[derive(Debug)]
pub struct Browser {
    http: reqwest::Client,
    /// The address of the session.
    session: String,
    driver: Driver,
}

/// The driver's process. Dropping it ends the process.
#[derive(Debug)]
struct Driver {
    process: Child,
    _profile: tempfile::TempDir,
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// Runs a test with a browser; reports it as skipped if there is none. After a failure, a
/// screenshot of the current window is kept, and its path is printed.
///
/// # Panics
/// When the browser does not start, or the test panics.
pub async fn with_browser<F>(
    name: &'static str,
    options: Options,
    test: impl FnOnce(std::sync::Arc<Browser>) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let (Some(driver), Some(chromium)) = (program("chromedriver"), program("chromium")) else {
        harness::skipped("Chromium with its driver");
        return;
    };
    let browser = std::sync::Arc::new(Browser::start(&driver, &chromium, options).await);
    let result = tokio::spawn(test(browser.clone())).await;
    if result.is_err() {
        browser.keep_screenshot(name).await;
    }
    browser.quit().await;
    if let Err(error) = result {
        std::panic::resume_unwind(error.into_panic());
    }
}

fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

impl Browser {
    async fn start(driver: &Path, chromium: &Path, options: Options) -> Self {
        let profile = tempfile::tempdir().expect("a temporary folder");
        let mut process = Command::new(driver)
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the driver starts");
        let output = process.stdout.take().expect("a pipe");
        let port = tokio::task::spawn_blocking(move || port(BufReader::new(output)));
        let port = port.await.expect("the driver's output");
        let base = format!("http://127.0.0.1:{port}");
        let http =
            reqwest::Client::builder().no_proxy().timeout(TIMEOUT).build().expect("a client");
        let (width, height) = options.size;
        let mut args = vec![
            "--headless=new".to_owned(),
            "--no-sandbox".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--disable-background-networking".to_owned(),
            "--disable-component-update".to_owned(),
            "--no-proxy-server".to_owned(),
            "--no-first-run".to_owned(),
            "--force-device-scale-factor=1".to_owned(),
            format!("--window-size={width},{height}"),
            format!("--user-data-dir={}", profile.path().display()),
        ];
        if options.dark {
            args.push("--force-dark-mode".to_owned());
        }
        let scripts = if options.scripts { 1 } else { 2 };
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": {
                "binary": chromium,
                "args": args,
                "prefs": {"profile.managed_default_content_settings.javascript": scripts},
            },
        }}});
        let driver = Driver { process, _profile: profile };
        let mut browser = Self { http, session: format!("{base}/session"), driver };
        let made = browser.call(Method::POST, "", &wanted).await;
        let id = made["sessionId"].as_str().unwrap_or_else(|| panic!("no session: {made}"));
        browser.session = format!("{}/{id}", browser.session);
        // The size of the page instead of the window with its frame.
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1,
            "mobile": width < 600});
        browser.devtools("Emulation.setDeviceMetricsOverride", metrics).await;
        let scheme = if options.dark { "dark" } else { "light" };
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        browser.devtools("Emulation.setEmulatedMedia", json!({"features": features})).await;
        browser
    }

    async fn devtools(&self, command: &str, params: Value) {
        let body = json!({"cmd": command, "params": params});
        self.call(Method::POST, "/goog/cdp/execute", &body).await;
    }

    /// Opens an address.
    pub async fn open(&self, url: &str) {
        self.call(Method::POST, "/url", &json!({"url": url})).await;
    }

    /// The address of the current page.
    pub async fn address(&self) -> String {
        let url = self.call(Method::GET, "/url", &Value::Null).await;
        url.as_str().expect("an address").to_owned()
    }

    /// Clicks the one element that matches the CSS selector, once it is there.
    pub async fn click(&self, css: &str) {
        self.on(css, "click", json!({})).await;
    }

    /// Types into a field after its text; `\u{e007}` is the Enter key.
    pub async fn type_into(&self, css: &str, text: &str) {
        self.on(css, "value", json!({"text": text})).await;
    }

    /// Presses keys where the focus is.
    pub async fn press(&self, keys: &str) {
        let active = self.call(Method::GET, "/element/active", &Value::Null).await;
        let id = active[ELEMENT].as_str().expect("an element");
        let path = format!("/element/{id}/value");
        self.call(Method::POST, &path, &json!({"text": keys})).await;
    }

    /// The visible texts of all elements that match, or nothing while the page changes.
    pub async fn texts(&self, css: &str) -> Vec<String> {
        let mut texts = Vec::new();
        for id in self.find(css).await {
            let path = format!("/element/{id}/text");
            let Ok(text) = self.try_call(Method::GET, &path, &Value::Null).await else {
                return Vec::new();
            };
            texts.push(text.as_str().unwrap_or_default().to_owned());
        }
        texts
    }

    /// Waits until the visible texts of all elements that match are these.
    ///
    /// # Panics
    /// When they are not after a minute.
    pub async fn expect(&self, css: &str, texts: &[&str]) {
        let mut seen = Vec::new();
        let deadline = Instant::now() + TIMEOUT;
        while Instant::now() < deadline {
            seen = self.texts(css).await;
            if seen == texts {
                return;
            }
            sleep(POLL).await;
        }
        panic!("`{css}` has the texts {seen:?}, expected {texts:?}");
    }

    /// Waits until an element matches.
    ///
    /// # Panics
    /// When none does after a minute.
    pub async fn wait_for(&self, css: &str) {
        let deadline = Instant::now() + TIMEOUT;
        while self.find(css).await.is_empty() {
            assert!(Instant::now() < deadline, "nothing matches `{css}`");
            sleep(POLL).await;
        }
    }

    /// Runs a script in the page and returns its result.
    pub async fn run(&self, script: &str) -> Value {
        self.call(Method::POST, "/execute/sync", &json!({"script": script, "args": []})).await
    }

    /// Opens another window with the same cookies, and returns its handle and that of the current
    /// one.
    pub async fn another_window(&self) -> (String, String) {
        let text = |value: &Value| value.as_str().expect("a handle").to_owned();
        let current = text(&self.call(Method::GET, "/window", &Value::Null).await);
        let made = self.call(Method::POST, "/window/new", &json!({"type": "window"})).await;
        (text(&made["handle"]), current)
    }

    /// Makes a window the current one.
    pub async fn switch_to(&self, window: &str) {
        self.call(Method::POST, "/window", &json!({"handle": window})).await;
    }

    /// A screenshot of the current window as PNG in base64.
    pub async fn screenshot(&self) -> String {
        let shot = self.call(Method::GET, "/screenshot", &Value::Null).await;
        shot.as_str().expect("a picture").to_owned()
    }

    /// Drags one element onto a point in another, `below` its middle by that many pixels.
    pub async fn drag(&self, from: &str, to: &str, below: i64) {
        let (from, to) = (self.one(from).await, self.one(to).await);
        let origin = |id: &str| json!({ELEMENT: id});
        let actions = json!({"actions": [{"type": "pointer", "id": "mouse", "actions": [
            {"type": "pointerMove", "origin": origin(&from), "x": 0, "y": 0},
            {"type": "pointerDown", "button": 0},
            {"type": "pointerMove", "origin": origin(&to), "x": 0, "y": below, "duration": 50},
            {"type": "pointerUp", "button": 0},
        ]}]});
        self.call(Method::POST, "/actions", &actions).await;
    }

    async fn keep_screenshot(&self, name: &str) {
        let folder = std::env::temp_dir().join("browser-failures");
        let file = folder.join(format!("{name}.png"));
        let picture = self.try_call(Method::GET, "/screenshot", &Value::Null).await;
        let bytes = picture.ok().and_then(|text| decode(text.as_str()?));
        let kept = bytes.map(|bytes| {
            std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&file, bytes))
        });
        match kept {
            Some(Ok(())) => eprintln!("the screenshot is in `{}`", file.display()),
            other => eprintln!("there is no screenshot: {other:?}"),
        }
    }

    async fn quit(&self) {
        self.try_call(Method::DELETE, "", &Value::Null).await.ok();
    }

    /// Does something with the one element that matches, and tries again while the page changes.
    async fn on(&self, css: &str, action: &str, body: Value) {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let found = self.find(css).await;
            let error = match &found[..] {
                [id] => {
                    let path = format!("/element/{id}/{action}");
                    match self.try_call(Method::POST, &path, &body).await {
                        Ok(_) => return,
                        Err(error) => error,
                    }
                }
                found => format!("{} elements match", found.len()),
            };
            assert!(Instant::now() < deadline, "failed to {action} `{css}`: {error}");
            sleep(POLL).await;
        }
    }

    async fn one(&self, css: &str) -> String {
        self.wait_for(css).await;
        self.find(css).await.swap_remove(0)
    }

    async fn find(&self, css: &str) -> Vec<String> {
        let body = json!({"using": "css selector", "value": css});
        let Ok(found) = self.try_call(Method::POST, "/elements", &body).await else {
            return Vec::new();
        };
        let ids = found.as_array().into_iter().flatten().filter_map(|one| one[ELEMENT].as_str());
        ids.map(str::to_owned).collect()
    }

    async fn call(&self, method: Method, path: &str, body: &Value) -> Value {
        let result = self.try_call(method, path, body).await;
        result.unwrap_or_else(|error| panic!("WebDriver failed at `{path}`: {error}"))
    }

    async fn try_call(&self, method: Method, path: &str, body: &Value) -> Result<Value, String> {
        let mut request = self.http.request(method, format!("{}{path}", self.session));
        if !body.is_null() {
            request = request.json(body);
        }
        let answer = request.send().await.map_err(|error| error.to_string())?;
        let is_success = answer.status().is_success();
        let body: Value = answer.json().await.map_err(|error| error.to_string())?;
        let value = body["value"].clone();
        if is_success { Ok(value) } else { Err(value.to_string()) }
    }
}

impl Browser {
    /// The process id of the driver.
    #[must_use]
    pub fn driver_pid(&self) -> u32 {
        self.driver.process.id()
    }
}

/// The port in the driver's first lines. The rest of its output is read and discarded.
fn port(output: impl std::io::Read + Send + 'static) -> u16 {
    let mut lines = BufReader::new(output).lines().map_while(Result::ok);
    let port = lines.by_ref().find_map(|line| {
        let (_, rest) = line.split_once("successfully on port ")?;
        rest.trim_end_matches('.').trim().parse().ok()
    });
    std::thread::spawn(move || lines.for_each(drop));
    port.expect("the driver prints its port")
}

/// The bytes of a text in base64.
fn decode(text: &str) -> Option<Vec<u8>> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let text = text.trim_end_matches('=');
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    for group in text.as_bytes().chunks(4) {
        let mut bits = 0_u32;
        for digit in group {
            let value = DIGITS.iter().position(|known| known == digit)?;
            bits = bits << 6 | u32::try_from(value).ok()?;
        }
        bits <<= 6 * (4 - group.len());
        let [_, first, second, third] = bits.to_be_bytes();
        bytes.extend([first, second, third].into_iter().take(group.len() - 1));
    }
    Some(bytes)
}
