package postgres

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// session is a connection of the administrator's, who needs no password on the
// socket. It speaks as much of PostgreSQL's protocol as that takes.
//
// https://www.postgresql.org/docs/current/protocol-flow.html
type session struct {
	conn net.Conn
	in   *bufio.Reader
}

func connect(socket, database string) (*session, error) {
	c, err := net.DialTimeout("unix", socket, 5*time.Second)
	if err != nil {
		return nil, err
	}
	s := &session{conn: c, in: bufio.NewReader(c)}
	body := binary.BigEndian.AppendUint32(nil, 3<<16)
	for _, v := range []string{"user", administrator, "database", database, ""} {
		body = append(append(body, v...), 0)
	}
	_, err = c.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(body)+4)), body...))
	if err == nil {
		_, err = s.answer()
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return s, nil
}

func (s *session) close() error { return s.conn.Close() }

// query runs statements and returns the first column of the last row.
func (s *session) query(sql string) (string, error) {
	if err := s.conn.SetDeadline(time.Now().Add(5 * time.Minute)); err != nil {
		return "", err
	}
	m := binary.BigEndian.AppendUint32([]byte{'Q'}, uint32(len(sql)+5))
	if _, err := s.conn.Write(append(append(m, sql...), 0)); err != nil {
		return "", err
	}
	return s.answer()
}

// answer reads messages until the server is ready for the next query.
func (s *session) answer() (value string, err error) {
	for {
		var head [5]byte
		if _, err := io.ReadFull(s.in, head[:]); err != nil {
			return "", err
		}
		size := binary.BigEndian.Uint32(head[1:])
		if size < 4 || size > 64<<20 {
			return "", fmt.Errorf("the server sent a message of %d bytes", size)
		}
		body := make([]byte, size-4)
		if _, err := io.ReadFull(s.in, body); err != nil {
			return "", err
		}
		switch head[0] {
		case 'R':
			if len(body) < 4 || binary.BigEndian.Uint32(body) != 0 {
				return "", errors.New("the server wants a password of its administrator")
			}
		case 'D':
			if len(body) >= 6 {
				if n := int32(binary.BigEndian.Uint32(body[2:])); n >= 0 && int(n) <= len(body)-6 {
					value = string(body[6 : 6+n])
				}
			}
		case 'E':
			err = errors.New(message(body))
		case 'Z':
			return value, err
		}
		if head[0] == 'E' && strings.Contains(string(body), "FATAL") {
			return "", err
		}
	}
}

// message is the text of an error.
func message(body []byte) string {
	for _, f := range strings.Split(string(body), "\x00") {
		if strings.HasPrefix(f, "M") {
			return f[1:]
		}
	}
	return "the server refused it"
}

func literal(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
func quoted(s string) string  { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }

// role makes the master user, with what RDS lets it do and the database postgres,
// which is its own, and sets its password.
//
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.MasterAccounts.html
func (s *session) role(d Database) error {
	there, err := s.query("SELECT 1 FROM pg_roles WHERE rolname = " + literal(d.User))
	if err != nil {
		return err
	}
	if there == "" {
		if _, err := s.query("CREATE ROLE " + quoted(d.User) + " LOGIN CREATEDB CREATEROLE; GRANT pg_monitor, pg_signal_backend TO " + quoted(d.User) + "; ALTER DATABASE postgres OWNER TO " + quoted(d.User)); err != nil {
			return err
		}
	}
	if d.Password == "" {
		return nil
	}
	// The password is not for the log.
	_, err = s.query("SET log_statement = 'none'; SET log_min_error_statement = 'panic'; ALTER ROLE " + quoted(d.User) + " PASSWORD " + literal(d.Password))
	return err
}

// database makes the database that was asked for.
func (s *session) database(d Database) error {
	if d.Name == "" {
		return nil
	}
	there, err := s.query("SELECT 1 FROM pg_database WHERE datname = " + literal(d.Name))
	if err != nil || there != "" {
		return err
	}
	_, err = s.query("CREATE DATABASE " + quoted(d.Name) + " OWNER " + quoted(d.User))
	return err
}
