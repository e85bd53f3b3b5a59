//! Which traces are exported, by `OTEL_TRACES_SAMPLER` and `OTEL_TRACES_SAMPLER_ARG`.
//!
//! The SDK reads both only for its own tracer, which this crate does not use. The samplers are
//! those of the SDK.

use opentelemetry::Context;
use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, TraceContextExt as _, TraceFlags, TraceId,
};
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, ShouldSample as _};

use crate::settings::{SettingError, Settings};

const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
const ARGUMENT: &str = "OTEL_TRACES_SAMPLER_ARG";

/// The sampler without a variable: what the caller records, and every new trace.
pub(super) fn default() -> Sampler {
    Sampler::ParentBased(Box::new(Sampler::AlwaysOn))
}

/// The sampler in the settings.
///
/// # Errors
/// When a variable has a value that is unknown.
pub(super) fn sampler(settings: &Settings) -> Result<Sampler, SettingError> {
    let Some(name) = settings.variable(SAMPLER)? else { return Ok(default()) };
    let root = match name.strip_prefix("parentbased_").unwrap_or(&name) {
        "always_on" => Sampler::AlwaysOn,
        "always_off" => Sampler::AlwaysOff,
        "traceidratio" => Sampler::TraceIdRatioBased(ratio(settings)?),
        _ => {
            let expected = "`always_on`, `always_off`, `traceidratio`, or one of these after \
                            `parentbased_`";
            return Err(SettingError::bad(SAMPLER, name, expected));
        }
    };
    let is_parent_based = name.starts_with("parentbased_");
    Ok(if is_parent_based { Sampler::ParentBased(Box::new(root)) } else { root })
}

fn ratio(settings: &Settings) -> Result<f64, SettingError> {
    let Some(text) = settings.variable(ARGUMENT)? else { return Ok(1.0) };
    let ratio = text.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
    ratio.ok_or_else(|| SettingError::bad(ARGUMENT, text, "a number from 0 to 1"))
}

/// The flags of a request in this trace; `parent` has the span and the flags of its caller.
pub(super) fn flags(
    sampler: &Sampler,
    trace: &str,
    parent: Option<(&str, &str)>,
) -> Option<String> {
    let trace = TraceId::from_hex(trace).ok()?;
    let mut flags = TraceFlags::default();
    let context = match parent {
        Some((span, of_parent)) => {
            flags = TraceFlags::new(u8::from_str_radix(of_parent, 16).ok()?);
            let span = SpanId::from_hex(span).ok()?;
            let span = SpanContext::new(trace, span, flags, true, Default::default());
            Some(Context::new().with_remote_span_context(span))
        }
        None => None,
    };
    let kind = SpanKind::Server;
    let sampled = sampler.should_sample(context.as_ref(), trace, "", &kind, &[], &[]).decision;
    let flags = flags.with_sampled(sampled == SamplingDecision::RecordAndSample);
    Some(format!("{flags:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00f067aa0ba902b7";

    /// Whether a new trace, one that the caller records, and one that it does not, are exported.
    fn exported(name: &str, argument: &str) -> [bool; 3] {
        let sampler = sampler(&Settings::from_pairs([(SAMPLER, name), (ARGUMENT, argument)]));
        let sampler = sampler.unwrap();
        [None, Some((PARENT, "01")), Some((PARENT, "00"))].map(|parent| {
            let flags = flags(&sampler, "4bf92f3577b34da6a3ce929d0e0e4736", parent).unwrap();
            assert!(["00", "01"].contains(&&*flags), "{flags}");
            flags == "01"
        })
    }

    #[test]
    fn standard_samplers_decide() {
        for (name, argument, expected) in [
            ("", "", [true, true, false]),
            ("always_on", "", [true; 3]),
            ("always_off", "", [false; 3]),
            ("traceidratio", "1", [true; 3]),
            ("traceidratio", "0", [false; 3]),
            ("traceidratio", "", [true; 3]),
            ("parentbased_always_on", "", [true, true, false]),
            ("parentbased_always_off", "", [false, true, false]),
            ("parentbased_traceidratio", "0.0", [false, true, false]),
        ] {
            assert_eq!(exported(name, argument), expected, "{name} {argument}");
        }
    }

    #[test]
    fn ratio_is_a_part_of_all_traces() {
        let pairs = [(SAMPLER, "traceidratio"), (ARGUMENT, "0.25")];
        let sampler = sampler(&Settings::from_pairs(pairs)).unwrap();
        let traces =
            (0..4000).map(|_| crate::context::random_hex() + &crate::context::random_hex());
        let sampled = traces.filter(|trace| flags(&sampler, trace, None).unwrap() == "01").count();
        assert!((800..1200).contains(&sampled), "{sampled}");
    }

    #[test]
    fn unknown_sampler_names_its_variable() {
        for (name, argument, expected) in [
            ("xray", "", "`OTEL_TRACES_SAMPLER` is `xray`, expected `always_on`"),
            ("traceidratio", "2", "`OTEL_TRACES_SAMPLER_ARG` is `2`, expected a number"),
        ] {
            let settings = Settings::from_pairs([(SAMPLER, name), (ARGUMENT, argument)]);
            let error = sampler(&settings).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
