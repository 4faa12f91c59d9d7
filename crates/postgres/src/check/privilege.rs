//! What we may do, with the statement that lets us.

use super::Facts;
use crate::sql::quote;
use shadowswap_core::plan::Finding;

pub fn general(facts: &Facts) -> Vec<Finding> {
    let (server, table) = (&facts.server, &facts.table);
    let (user, owner) = (quote(&server.user), quote(&facts.source.owner));
    let mut found = Vec::new();
    found.push(if table.owns {
        Finding::passed("ownership", format!("{} owns the table", server.user))
    } else {
        let message = format!("{} does not own the table; {} does", server.user, facts.source.owner);
        Finding::refused(
            "ownership",
            message,
            format!("GRANT {owner} TO {user}, or connect as {}", facts.source.owner),
        )
    });
    if !server.may_temp {
        let next = format!("GRANT TEMPORARY ON DATABASE {} TO {user}", quote(&server.database));
        found.push(Finding::refused(
            "temporary-tables",
            format!("{} may not make temporary tables", server.user),
            next,
        ));
    }
    found
}

pub fn shadow(facts: &Facts) -> Vec<Finding> {
    let (server, table) = (&facts.server, &facts.table);
    let (user, schema) = (quote(&server.user), quote(&facts.source.schema));
    let mut found = Vec::new();
    if !server.may_create {
        let message =
            format!("{} may not create schemas and publications in {}", server.user, server.database);
        found.push(Finding::refused(
            "create-in-database",
            message,
            format!("GRANT CREATE ON DATABASE {} TO {user}", quote(&server.database)),
        ));
    }
    for (who, may) in [
        (&server.user, table.may_create),
        (&facts.source.owner, table.owner_may_create || server.is_superuser),
    ] {
        if !may {
            let message = format!("{who} may not create tables in schema {}", facts.source.schema);
            found.push(Finding::refused(
                "create-in-schema",
                message,
                format!("GRANT CREATE ON SCHEMA {schema} TO {}", quote(who)),
            ));
        }
    }
    if !table.may_read {
        let next = format!("GRANT SELECT ON {} TO {user}", facts.source.quoted());
        found.push(Finding::refused("read", format!("{} may not read the table", server.user), next));
    }
    for name in &table.statistics_of_others {
        let message =
            format!("{} does not own the statistics object {name}, which the swap renames", server.user);
        let owner = quote(&facts.source.owner);
        found.push(Finding::refused(
            "ownership",
            message,
            format!("ALTER STATISTICS {name} OWNER TO {owner}"),
        ));
    }
    if found.is_empty() {
        found.push(Finding::passed("privileges", "all privileges are there"));
    }
    found
}
