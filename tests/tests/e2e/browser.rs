//! The page in a real browser, as a person uses it.

use std::sync::Arc;

use e2e::browser::{Browser, Options, with_browser};
use e2e::{Stack, harness, unique};

const ENTER: &str = "\u{e007}";
const END: &str = "\u{e010}";
const TAB: &str = "\u{e004}";
const SPACE: &str = " ";
/// Control and A, then no key.
const SELECT_ALL: &str = "\u{e009}a\u{e000}";
const ALT_DOWN: &str = "\u{e00a}\u{e015}";

const TITLES: &str = ".title";

/// The address of the page.
async fn page(stack: &Stack) -> String {
    stack.service("web").url().await.unwrap()
}

/// Signs up and makes a list.
async fn sign_up(browser: &Browser, page: &str) {
    browser.open(&format!("{page}/sign-up")).await;
    browser.type_into("#username", &unique("ann")).await;
    browser.type_into("#password", &format!("correct horse{ENTER}")).await;
    browser.type_into("#add #new-list", &format!("home{ENTER}")).await;
    browser.expect("h1", &["home"]).await;
}

async fn add(browser: &Browser, title: &str) {
    browser.type_into("#new-title", &format!("{title}{ENTER}")).await;
}

#[tokio::test]
async fn person_signs_up_and_finishes_a_list() {
    let stack = harness::calm().await;
    let page = page(&stack).await;
    let test = |browser: Arc<Browser>| async move {
        sign_up(&browser, &page).await;
        for (count, title) in ["milk", "tea", "salt"].into_iter().enumerate() {
            add(&browser, title).await;
            browser.expect(TITLES, &["milk", "tea", "salt"][..=count]).await;
        }
        browser.drag(".item:nth-child(3) .grip", ".item:nth-child(1)", -10).await;
        browser.expect(TITLES, &["salt", "milk", "tea"]).await;
        browser.click(".item:nth-child(1) .tick").await;
        browser.expect(".progress-text", &["1 of 3 done"]).await;
        browser.click(".item:nth-child(2) .edit").await;
        browser.type_into("#edit-title", &format!("{END} and honey{ENTER}")).await;
        browser.expect(TITLES, &["salt", "milk and honey", "tea"]).await;
        browser.click(".item:nth-child(3) .delete").await;
        browser.expect(TITLES, &["salt", "milk and honey"]).await;
        browser.click("#undo").await;
        browser.expect(TITLES, &["salt", "milk and honey", "tea"]).await;
        for (done, place) in [(2, 2), (3, 3)] {
            browser.click(&format!(".item:nth-child({place}) .tick")).await;
            let text = if done == 3 { "All 3 done" } else { "2 of 3 done" };
            browser.expect(".progress-text", &[text]).await;
        }
        browser.click("#filters a:nth-child(2)").await;
        browser.expect("#empty", &["All done. Enjoy the rest of the day."]).await;
        browser.click(".person button").await;
        browser.expect("h1", &["Welcome back"]).await;
    };
    with_browser("person_signs_up_and_finishes_a_list", Options::default(), test).await;
}

#[tokio::test]
async fn change_appears_in_another_window() {
    let stack = harness::calm().await;
    let page = page(&stack).await;
    let test = |browser: Arc<Browser>| async move {
        sign_up(&browser, &page).await;
        let address = browser.address().await;
        let (other, first) = browser.another_window().await;
        browser.switch_to(&other).await;
        browser.open(&address).await;
        browser.wait_for("html[data-connected]").await;
        // What was typed here must stay, wherever the focus is.
        browser.type_into("#new-title", "half").await;
        browser.run("document.activeElement.blur()").await;
        browser.switch_to(&first).await;
        add(&browser, "from the first window").await;
        browser.expect(TITLES, &["from the first window"]).await;
        browser.switch_to(&other).await;
        browser.expect(TITLES, &["from the first window"]).await;
        add(&browser, " done").await;
        browser.expect(TITLES, &["from the first window", "half done"]).await;
        browser.switch_to(&first).await;
        browser.expect(TITLES, &["from the first window", "half done"]).await;
    };
    with_browser("change_appears_in_another_window", Options::default(), test).await;
}

/// The answer of a form may be slower than the page that the person asked for after it.
#[tokio::test]
async fn late_answer_leaves_the_page_that_was_chosen() {
    let stack = harness::calm().await;
    let page = page(&stack).await;
    let test = |browser: Arc<Browser>| async move {
        sign_up(&browser, &page).await;
        add(&browser, "milk").await;
        browser.expect(TITLES, &["milk"]).await;
        // Keeps the answer of a form back until `answer` is called.
        let hold = "const send = window.fetch; window.fetch = async (url, options) => {\
            const response = await send(url, options);\
            if (options?.method !== 'POST') return response;\
            const text = await response.text();\
            await new Promise((resolve) => { window.answer = resolve; });\
            return { status: response.status, ok: response.ok, url: response.url,\
                redirected: response.redirected, text: async () => text }; }";
        browser.run(hold).await;
        browser.click(".item .delete").await;
        browser.expect(TITLES, &[]).await;
        browser.click("#filters a:nth-child(3)").await;
        browser.expect("#filters [aria-current]", &["Done\n0"]).await;
        let filtered = browser.address().await;
        let answered = "return new Promise((resolve) => { const look = () => {\
            if (!window.answer) return setTimeout(look, 5);\
            window.answer(); setTimeout(resolve); }; look(); })";
        browser.run(answered).await;
        browser.expect("#filters [aria-current]", &["Done\n0"]).await;
        assert_eq!(browser.address().await, filtered);
        // The message of the late answer is not lost, and it still works.
        browser.click("#undo").await;
        browser.click("#filters a:nth-child(1)").await;
        browser.expect(TITLES, &["milk"]).await;
    };
    with_browser("late_answer_leaves_the_page_that_was_chosen", Options::default(), test).await;
}

#[tokio::test]
async fn current_of_many_lists_is_in_view() {
    let stack = harness::calm().await;
    let page = page(&stack).await;
    let test = |browser: Arc<Browser>| async move {
        sign_up(&browser, &page).await;
        for name in ["groceries", "the big trip", "work", "garden and balcony"] {
            browser.type_into("#new-list", &format!("{name}{ENTER}")).await;
            browser.expect("h1", &[name]).await;
        }
        let is_in_view = "const box = document.querySelector('#lists [aria-current]')\
            .getBoundingClientRect(); return box.left >= 0 && box.right <= innerWidth";
        assert_eq!(browser.run(is_in_view).await, true, "after it was made");
        browser.open(&browser.address().await).await;
        browser.wait_for("html[data-connected]").await;
        assert_eq!(browser.run(is_in_view).await, true, "after the page was loaded");
    };
    let options = Options { size: (400, 800), ..Options::default() };
    with_browser("current_of_many_lists_is_in_view", options, test).await;
}

#[tokio::test]
async fn page_works_without_scripts() {
    let stack = harness::calm().await;
    let page = page(&stack).await;
    let test = |browser: Arc<Browser>| async move {
        sign_up(&browser, &page).await;
        browser.wait_for("html:not(.live)").await;
        add(&browser, "milk").await;
        browser.expect(TITLES, &["milk"]).await;
        add(&browser, "tea").await;
        browser.expect(TITLES, &["milk", "tea"]).await;
        browser.click(".item:nth-child(1) .down").await;
        browser.expect(TITLES, &["tea", "milk"]).await;
        browser.click(".item:nth-child(1) .tick").await;
        browser.expect(".progress-text", &["1 of 2 done"]).await;
        browser.click(".item:nth-child(2) .edit").await;
        browser.type_into("#edit-title", &format!("{END} and honey{ENTER}")).await;
        browser.expect(TITLES, &["tea", "milk and honey"]).await;
        browser.click(".item:nth-child(1) .delete").await;
        browser.expect(TITLES, &["milk and honey"]).await;
        browser.click("#undo").await;
        browser.expect(TITLES, &["tea", "milk and honey"]).await;
    };
    let options = Options { scripts: false, ..Options::default() };
    with_browser("page_works_without_scripts", options, test).await;
}

#[tokio::test]
async fn killed_todo_is_a_notice_until_it_is_back() {
    let stack = harness::exclusive().await;
    let page = page(&stack).await;
    let test = |browser: Arc<Browser>| async move {
        sign_up(&browser, &page).await;
        add(&browser, "milk").await;
        browser.expect(TITLES, &["milk"]).await;
        let todo = stack.service("todo");
        // A paused service answers nothing, which is worse than one that is killed.
        todo.pause().await.unwrap();
        add(&browser, "tea").await;
        let text = "Your lists cannot be reached right now, so the change may not be saved. \
            Please try again: nothing is done twice.";
        browser.expect("#connection", &[text]).await;
        browser.expect(TITLES, &["milk"]).await;
        let run = todo.status().await.unwrap().run;
        todo.kill().await.unwrap();
        todo.wait_ready_after(run).await.unwrap();
        // What was typed is still in the field. The first request may have reached either run.
        browser.type_into("#new-title", ENTER).await;
        browser.expect(TITLES, &["milk", "tea"]).await;
        browser.expect(".notice", &[]).await;
        browser.click(".item:nth-child(1) .delete").await;
        browser.expect(TITLES, &["tea"]).await;
        todo.pause().await.unwrap();
        browser.click("#undo").await;
        browser.expect("#notice span", &[text]).await;
        todo.resume().await.unwrap();
        browser.click("#undo").await;
        browser.expect(".notice", &[]).await;
        browser.expect(TITLES, &["milk", "tea"]).await;
    };
    with_browser("killed_todo_is_a_notice_until_it_is_back", Options::default(), test).await;
}

#[tokio::test]
async fn second_click_sends_nothing_again() {
    let stack = harness::exclusive().await;
    let page = page(&stack).await;
    let test = |browser: Arc<Browser>| async move {
        sign_up(&browser, &page).await;
        let todo = stack.service("todo");
        todo.pause().await.unwrap();
        browser.type_into("#new-title", &format!("milk{ENTER}{ENTER}y")).await;
        todo.resume().await.unwrap();
        browser.expect(TITLES, &["milk"]).await;
        // What was typed before the answer came is still in the field.
        browser.type_into("#new-title", &format!(" way{ENTER}")).await;
        browser.expect(TITLES, &["milk", "milky way"]).await;
        browser.click(".item:nth-child(2) .delete").await;
        browser.expect(TITLES, &["milk"]).await;
        browser.click(".delete").await;
        browser.expect(TITLES, &[]).await;
        todo.pause().await.unwrap();
        browser.click("#undo").await;
        browser.click("#undo").await;
        todo.resume().await.unwrap();
        browser.expect(TITLES, &["milk"]).await;
        // The answers come in order, so a second item would be there by now.
        add(&browser, "tea").await;
        browser.expect(TITLES, &["milk", "tea"]).await;
    };
    with_browser("second_click_sends_nothing_again", Options::default(), test).await;
}

#[tokio::test]
async fn keyboard_alone_is_enough() {
    let stack = harness::calm().await;
    let page = page(&stack).await;
    let test = |browser: Arc<Browser>| async move {
        browser.open(&format!("{page}/sign-up")).await;
        browser.press(&unique("kim")).await;
        browser.press(TAB).await;
        browser.press(&format!("correct horse{ENTER}")).await;
        browser.expect(".add button", &["Create"]).await;
        browser.press(&format!("home{ENTER}")).await;
        browser.expect("h1", &["home"]).await;
        // From the top of the page to the field: the first stop skips the lists.
        browser.run("document.activeElement.blur()").await;
        browser.press(TAB).await;
        browser.press(ENTER).await;
        browser.run("document.getElementById('main').focus()").await;
        while browser.run("return document.activeElement.id").await != "new-title" {
            browser.press(TAB).await;
        }
        for (count, title) in ["milk", "tea"].into_iter().enumerate() {
            browser.press(&format!("{title}{ENTER}")).await;
            browser.expect(TITLES, &["milk", "tea"][..=count]).await;
        }
        while browser.run("return document.activeElement.className").await != "tick" {
            browser.press(TAB).await;
        }
        browser.press(SPACE).await;
        browser.expect(".progress-text", &["1 of 2 done"]).await;
        let focus = "return document.activeElement.className";
        assert_eq!(browser.run(focus).await, "tick", "the focus stays");
        browser.press(ALT_DOWN).await;
        browser.expect(TITLES, &["tea", "milk"]).await;
    };
    with_browser("keyboard_alone_is_enough", Options::default(), test).await;
}

#[tokio::test]
async fn page_of_another_origin_changes_nothing() {
    let stack = harness::calm().await;
    let page = page(&stack).await;
    let todo = stack.service("todo").url().await.unwrap();
    let test = |browser: Arc<Browser>| async move {
        sign_up(&browser, &page).await;
        add(&browser, "milk").await;
        browser.expect(TITLES, &["milk"]).await;
        let address = browser.address().await;
        // Another port is another origin, and the browser sends the cookie there and back.
        browser.open(&format!("{todo}/healthz")).await;
        browser
            .run(&format!(
                "const form = document.createElement('form'); form.method = 'post';
                 form.action = '{address}/delete'; document.body.append(form); form.submit();"
            ))
            .await;
        browser.wait_for("body").await;
        browser.open(&address).await;
        browser.expect(TITLES, &["milk"]).await;
    };
    with_browser("page_of_another_origin_changes_nothing", Options::default(), test).await;
}

#[tokio::test]
async fn documentation_page_sends_requests() {
    let stack = harness::calm().await;
    let [todo, users] = [stack.service("todo").url().await, stack.service("users").url().await];
    let (todo, users) = (todo.unwrap(), users.unwrap());
    let test = |browser: Arc<Browser>| async move {
        // It is typed after the name in the example.
        let user = unique("-docs");
        browser.open(&format!("{todo}/docs#lists_create")).await;
        browser.type_into("#lists_create [aria-label=username]", &user).await;
        let body = format!("{SELECT_ALL}{{\"name\": \"sent\", \"items\": [\"<b>\"]}}");
        browser.type_into("#lists_create textarea", &body).await;
        browser.click("#lists_create button").await;
        browser.expect("#lists_create .status", &["201 Created"]).await;
        let answer = browser.texts("#lists_create .output pre").await.concat();
        assert!(answer.contains("\"name\": \"sent\"") && answer.contains("\"<b>\""), "{answer}");
        browser.type_into("#lists_create textarea", &format!("{SELECT_ALL}{{}}")).await;
        browser.click("#lists_create button").await;
        browser.expect("#lists_create .status.bad", &["422 Unprocessable Entity"]).await;
        browser.click("#lists_delete_all summary").await;
        browser.type_into("#lists_delete_all [aria-label=username]", &user).await;
        browser.click("#lists_delete_all button").await;
        browser.expect("#lists_delete_all .status", &["204 No Content"]).await;
        browser.expect("#lists_delete_all .bad", &[]).await;
        // This answer does not end.
        browser.click("#events_follow summary").await;
        browser.click("#events_follow button").await;
        browser.expect("#events_follow .status", &["200 OK"]).await;
        browser.wait_for("#events_follow .output pre code:not(:empty)").await;
        browser.open(&format!("{users}/docs#healthz")).await;
        browser.click("#healthz button").await;
        browser.expect("#healthz .status", &["200 OK"]).await;
    };
    with_browser("documentation_page_sends_requests", Options::default(), test).await;
}
