//! A line of any bytes on the control socket is a call or an error. A call that is written
//! again is read as the same one.

use xtask_client::protocol::{VERSION, parse_call};

/// Checks the property for this line.
pub(crate) fn holds(line: &[u8]) {
    match parse_call(line) {
        Ok(call) => {
            let is_for_all = call.request.is_for_all_versions();
            assert!(call.version == VERSION || is_for_all);
            let written = serde_json::to_vec(&call).unwrap();
            let again = parse_call(&written).unwrap();
            assert_eq!(written, serde_json::to_vec(&again).unwrap());
        }
        Err(nonsense) => assert!(!nonsense.message.is_empty()),
    }
}
