//! What a definition's fingerprint takes for a change.

use super::{resolve, table};
use shadowswap_testkit::{Version, shared};

#[tokio::test]
async fn a_change_of_the_source_changes_its_fingerprint() {
    let database = shared(Version::Pip).await.database().await;
    let client = database.connect().await;
    client.batch_execute("create schema app; create table app.t (id int primary key, v text)").await.unwrap();
    let id = resolve(&client, "app.t", "").await.unwrap();
    let mut seen = vec![table(&client, id).await.unwrap().fingerprint()];
    for harmless in [
        "alter table app.t set (fillfactor = 50)",
        "comment on table app.t is 'x'",
        "alter table app.t replica identity full",
        "vacuum full app.t",
        "analyze app.t",
    ] {
        client.batch_execute(harmless).await.unwrap();
        assert_eq!(table(&client, id).await.unwrap().fingerprint(), seen[0], "{harmless}");
    }
    for change in [
        "alter table app.t add x int",
        "alter table app.t alter v set default 'x'",
        "alter table app.t alter v set not null",
        "alter table app.t add check (x > 0)",
        "create index on app.t (v)",
        "create trigger z before update on app.t for each row execute function suppress_redundant_updates_trigger()",
        "alter table app.t disable trigger z",
        "create policy p on app.t using (true)",
        "alter table app.t rename to u",
    ] {
        client.batch_execute(change).await.unwrap();
        let now = table(&client, id).await.unwrap().fingerprint();
        assert!(!seen.contains(&now), "{change}");
        seen.push(now);
    }
}
