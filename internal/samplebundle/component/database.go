package component

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
)

// account is who a connection is of, and to which database.
type account struct {
	Name     string `json:"dbname"`
	Username string `json:"username"`
	Password string `json:"password"`
}

// connect connects to the database with its certificate verified, its name included:
// what libpq calls verify-full.
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/PostgreSQL.Concepts.General.SSL.html
func (o Options) connect(ctx context.Context, a account) (*pgx.Conn, error) {
	v, err := o.need("DATABASE_HOST", "DATABASE_PORT")
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(v[1], 10, 16)
	if err != nil {
		return nil, fmt.Errorf("DATABASE_PORT %q is no port", v[1])
	}
	// Nothing of the environment counts but what is set here.
	c, err := pgx.ParseConfig("host=localhost user=none sslmode=disable")
	if err != nil {
		return nil, err
	}
	c.Host, c.Port, c.Database, c.User, c.Password = v[0], uint16(port), a.Name, a.Username, a.Password
	c.TLSConfig = &tls.Config{ServerName: v[0], RootCAs: o.Roots, MinVersion: tls.VersionTLS12}
	c.Fallbacks = nil
	if o.Dial != nil {
		c.DialFunc = o.Dial
		c.LookupFunc = func(_ context.Context, host string) ([]string, error) { return []string{host}, nil }
	}
	conn, err := pgx.ConnectConfig(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("connect as %s: %w", a.Username, hide(err, a.Password))
	}
	return conn, nil
}

// hide takes a password out of an error, should a server repeat it.
func hide(err error, password string) error {
	if err == nil || password == "" || !strings.Contains(err.Error(), password) {
		return err
	}
	return errors.New(strings.ReplaceAll(err.Error(), password, "..."))
}

// database writes a row and reads it, as the application.
func (c *component) database() check {
	return check{"database", true, func(ctx context.Context) (says string, err error) {
		var a account
		for key, to := range map[string]*string{"dbname": &a.Name, "username": &a.Username, "password": &a.Password} {
			if *to, err = c.secret("database", key); err != nil {
				return "", fmt.Errorf("read the application's account: %w", err)
			}
		}
		conn, err := c.connect(ctx, a)
		if err != nil {
			return "", err
		}
		defer func() { err = errors.Join(err, conn.Close(ctx)) }()
		want := rand.Text()
		var got, who, version string
		err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			// Pods that make the table at once wait for each other.
			for _, sql := range []string{
				"SELECT pg_advisory_xact_lock(hashtext('poolhouse_sample'))",
				"CREATE TABLE IF NOT EXISTS poolhouse_sample (component text PRIMARY KEY, said text NOT NULL, at timestamptz NOT NULL DEFAULT now())",
			} {
				if _, err := tx.Exec(ctx, sql); err != nil {
					return err
				}
			}
			_, err := tx.Exec(ctx, "INSERT INTO poolhouse_sample (component, said) VALUES ($1, $2) ON CONFLICT (component) DO UPDATE SET said = excluded.said, at = now()", c.name(), want)
			return err
		})
		if err != nil {
			return "", fmt.Errorf("write a row: %w", err)
		}
		err = conn.QueryRow(ctx, "SELECT said, current_user::text, (SELECT s.version FROM pg_stat_ssl s WHERE s.pid = pg_backend_pid() AND s.ssl) FROM poolhouse_sample WHERE component = $1", c.name()).Scan(&got, &who, &version)
		if err != nil {
			return "", fmt.Errorf("read the row: %w", err)
		}
		if got != want {
			return "", errors.New("the row that is read is not the one that was written")
		}
		return fmt.Sprintf("a row was written and read in %s at %s as %s, over %s with the certificate verified", a.Name, c.Env("DATABASE_HOST"), who, version), nil
	}}
}
