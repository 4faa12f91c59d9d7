-- What the checks want to know about the server and about us, as one JSON document.
select json_build_object(
    'version', current_setting('server_version'),
    'version_num', current_setting('server_version_num')::int,
    'is_standby', pg_is_in_recovery(),
    'wal_level', current_setting('wal_level'),
    'slots_max', current_setting('max_replication_slots')::int,
    'slots', (select count(*) from pg_replication_slots),
    'senders_max', current_setting('max_wal_senders')::int,
    'senders', (select count(*) from pg_stat_replication),
    'sync_standbys', current_setting('synchronous_standby_names'),
    'slot_keep_mb', current_setting('max_slot_wal_keep_size', true),
    'slot_idle_timeout', current_setting('idle_replication_slot_timeout', true),
    'counts_scans', current_setting('track_counts')::bool,
    'user', current_user,
    'is_superuser', (select rolsuper from pg_roles where rolname = current_user),
    'may_replicate', (select rolsuper or rolreplication from pg_roles where rolname = current_user),
    'may_replicate_as', (
        select rolname from pg_roles
        where rolname in ('rds_replication', 'rds_superuser', 'cloudsqlsuperuser', 'alloydbsuperuser')
            and pg_has_role(current_user, oid, 'usage')
            and (rolname = 'rds_replication' or rolreplication)
        limit 1),
    'provider', (
        select case rolname when 'rdsadmin' then 'rds' when 'cloudsqladmin' then 'cloudsql' when 'alloydbadmin' then 'cloudsql' else 'azure' end
        from pg_roles where rolname in ('rdsadmin', 'cloudsqladmin', 'alloydbadmin', 'azuresu') limit 1),
    'database', current_database(),
    'may_create', has_database_privilege(current_database(), 'CREATE'),
    'may_temp', has_database_privilege(current_database(), 'TEMP'),
    'event_triggers', coalesce((select json_agg(evtname order by evtname) from pg_event_trigger where evtenabled in ('O', 'A')), '[]'),
    'prepared', coalesce((
        select json_agg(json_build_object('gid', gid, 'database', database, 'seconds', extract(epoch from clock_timestamp() - prepared)::int8) order by prepared)
        from pg_prepared_xacts), '[]'),
    'long_transactions', coalesce((
        select json_agg(json_build_object('pid', pid, 'app', application_name, 'state', coalesce(state, '?'),
            'seconds', extract(epoch from clock_timestamp() - xact_start)::int8) order by xact_start)
        from pg_stat_activity
        where xact_start < clock_timestamp() - interval '30 seconds' and pid <> pg_backend_pid()
            and (backend_xid is not null or backend_xmin is not null) and backend_type = 'client backend'), '[]'))
