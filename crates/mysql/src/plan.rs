//! stub
pub mod detail;
pub use detail::{Detail, LateIndex};
pub async fn plan(
    _: &mut mysql_async::Conn,
    _: &shadowswap_core::plan::Request,
) -> shadowswap_core::Result<shadowswap_core::plan::Plan> {
    Err(shadowswap_core::Error::usage("x"))
}
pub fn lacks(_: &crate::catalog::Table, _: &crate::catalog::Table) -> Vec<String> {
    Vec::new()
}
