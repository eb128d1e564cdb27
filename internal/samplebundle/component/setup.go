package component

import (
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/jackc/pgx/v5"
)

// Setup gives the application its role in the database, with the password of its secret,
// as the server's master. It changes nothing that is as it should be but the salt of the
// password, so it can be repeated: after a restore, and after a change of either secret.
// The master's secret is read each time, so its rotation needs nothing.
func Setup(ctx context.Context, o Options) (err error) {
	v, err := o.need("MASTER_SECRET_ARN", "APPLICATION_SECRET_ARN", "DATABASE_NAME")
	if err != nil {
		return err
	}
	master, err := o.accountOf(ctx, v[0])
	if err != nil {
		return err
	}
	app, err := o.accountOf(ctx, v[1])
	if err != nil {
		return err
	}
	if app.Name == "" {
		app.Name = v[2]
	}
	if app.Username == master.Username {
		return fmt.Errorf("the application's account %s is the server's master", app.Username)
	}
	master.Name = app.Name
	verifier, err := scram(app.Password)
	if err != nil {
		return err
	}
	conn, err := o.connect(ctx, master)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	var does string
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtext('poolhouse_setup'))"); err != nil {
			return err
		}
		var there bool
		if err := tx.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)", app.Username).Scan(&there); err != nil {
			return err
		}
		does = "CREATE"
		if there {
			does = "ALTER"
		}
		who, where := pgx.Identifier{app.Username}.Sanitize(), pgx.Identifier{app.Name}.Sanitize()
		for _, sql := range []string{
			// The verifier holds base64 and digits only. Statements that fail are in the
			// server's log; this one has no password in it.
			does + " ROLE " + who + " LOGIN NOCREATEDB NOCREATEROLE PASSWORD '" + verifier + "'",
			"GRANT CONNECT, CREATE, TEMPORARY ON DATABASE " + where + " TO " + who,
			"GRANT USAGE, CREATE ON SCHEMA public TO " + who,
		} {
			if _, err := tx.Exec(ctx, sql); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("set the role %s: %w", app.Username, hide(hide(err, verifier), app.Password))
	}
	// What was set is tried, so that nothing waits for pods to find out.
	own, err := o.connect(ctx, app)
	if err != nil {
		return fmt.Errorf("try the role that was set: %w", err)
	}
	if err := own.Close(ctx); err != nil {
		return fmt.Errorf("try the role that was set: %w", err)
	}
	fmt.Fprintf(o.Log, "%s can log in to %s with the password of its secret (%s ROLE)\n", app.Username, app.Name, does)
	return nil
}

// accountOf is an account that a secret of Secrets Manager holds.
// https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_secret_json_structure.html
func (o Options) accountOf(ctx context.Context, arn string) (a account, err error) {
	out, err := secretsmanager.NewFromConfig(o.AWS).GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: &arn})
	if err != nil {
		return a, fmt.Errorf("read the secret %s: %w", arn, short(err))
	}
	// What can't be read is not repeated: it is the secret.
	if json.Unmarshal([]byte(aws.ToString(out.SecretString)), &a) != nil || a.Username == "" || a.Password == "" {
		return a, fmt.Errorf("the secret %s holds no username and password as JSON", arn)
	}
	return a, nil
}

// scram is what PostgreSQL keeps of a password, so that the password itself isn't sent
// and can't be in a log.
// https://www.postgresql.org/docs/current/catalog-pg-authid.html
func scram(password string) (string, error) {
	// SASLprep leaves printable ASCII as it is.
	if i := strings.IndexFunc(password, func(r rune) bool { return r < ' ' || r > '~' }); i >= 0 {
		return "", errors.New("the application's password has characters other than printable ASCII")
	}
	const rounds, length = 4096, 16
	salt := make([]byte, length)
	if _, err := rand.Read(salt); err != nil {
		return "", fmt.Errorf("make a salt: %w", err)
	}
	salted, err := pbkdf2.Key(sha256.New, password, salt, rounds, sha256.Size)
	if err != nil {
		return "", fmt.Errorf("derive a key: %w", err)
	}
	sum := func(text string) []byte {
		h := hmac.New(sha256.New, salted)
		h.Write([]byte(text))
		return h.Sum(nil)
	}
	stored := sha256.Sum256(sum("Client Key"))
	b64 := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("SCRAM-SHA-256$%d:%s$%s:%s", rounds, b64(salt), b64(stored[:]), b64(sum("Server Key"))), nil
}
