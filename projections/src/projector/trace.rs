//! One trace from a request over the append to the stores: a span for each sampled event while its batch is applied.

use std::collections::HashMap;

use opentelemetry::propagation::TextMapPropagator;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// Whether a W3C trace context says that its trace is recorded (the lowest bit of its flags).
pub(super) fn is_sampled(traceparent: &str) -> bool {
    let flags = traceparent.get(53..55).and_then(|flags| u8::from_str_radix(flags, 16).ok());
    flags.is_some_and(|flags| flags & 1 == 1)
}

/// A span for the application of one event to `view`, as a child of what `traceparent` names. It ends when dropped.
pub(super) fn span(view: &'static str, traceparent: &str) -> Span {
    let span = tracing::info_span!("project", view);
    if !span.is_disabled() {
        let carrier = HashMap::from([("traceparent".to_owned(), traceparent.to_owned())]);
        // It fails where no layer exports traces: then there is nobody to see the parent either.
        let _ = span.set_parent(TraceContextPropagator::new().extract(&carrier));
    }
    span
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flags_say_whether_a_trace_is_recorded() {
        let context = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-";
        assert!(is_sampled(&format!("{context}01")) && is_sampled(&format!("{context}03")));
        assert!(!is_sampled(&format!("{context}00")) && !is_sampled("") && !is_sampled("00-ä"));
    }
}
