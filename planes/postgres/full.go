package postgres

import (
	"errors"
	"strings"
)

// What makes a database full, and what makes room again: statements that need
// space are refused in PostgreSQL's own words and code for a disk without any.
//
// https://www.postgresql.org/docs/current/errcodes-appendix.html
const (
	room = `SET lock_timeout = '2s';
DROP EVENT TRIGGER IF EXISTS poolhouse_full;
DROP SCHEMA IF EXISTS poolhouse_full CASCADE;
`
	noRoom = room + `CREATE SCHEMA poolhouse_full;
CREATE FUNCTION poolhouse_full.row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION USING ERRCODE = 'disk_full', HINT = 'Check free disk space.',
    MESSAGE = 'could not extend file "' || coalesce(pg_catalog.pg_relation_filepath(TG_RELID), TG_RELID::text) || '": No space left on device';
END $$;
CREATE FUNCTION poolhouse_full.relation() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION USING ERRCODE = 'disk_full', HINT = 'Check free disk space.',
    MESSAGE = 'could not create file "base": No space left on device';
END $$;
DO $$
DECLARE t regclass;
BEGIN
  FOR t IN SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\_%'
  LOOP
    EXECUTE format('CREATE TRIGGER poolhouse_full BEFORE INSERT OR UPDATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION poolhouse_full.row()', t);
  END LOOP;
END $$;
CREATE EVENT TRIGGER poolhouse_full ON ddl_command_start
  WHEN TAG IN ('CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO', 'CREATE INDEX', 'CREATE MATERIALIZED VIEW')
  EXECUTE FUNCTION poolhouse_full.relation();
`
)

// fill makes all databases of the server full, or gives them room.
func (s *server) fill(d Database) error {
	if s.now.User != "" && s.now.Full == d.Full {
		return nil
	}
	statements := room
	if d.Full {
		statements = noRoom
	}
	var list string
	err := s.do(func(c *session) (err error) {
		list, err = c.query("SELECT string_agg(datname, chr(10)) FROM pg_database WHERE datallowconn AND NOT datistemplate")
		return err
	})
	if err != nil {
		return err
	}
	for name := range strings.SplitSeq(list, "\n") {
		c, err := connect(s.socket, name)
		if err == nil {
			_, err = c.query(statements)
			err = errors.Join(err, c.close())
		}
		if err != nil {
			return err
		}
	}
	return nil
}
