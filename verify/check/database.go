package check

import (
	"github.com/aws/aws-sdk-go-v2/service/rds/types"

	"github.com/poolhouse/poolhouse/verify/account"
)

// OnDatabase looks at the instance if there is one. Where there is none, one
// check says so for all.
func OnDatabase(f func(*account.Look, *Recorder, *types.DBInstance) error) func(*account.Look, *Recorder) error {
	return func(l *account.Look, r *Recorder) error {
		db, err := l.Database()
		if err != nil {
			return err
		}
		if db == nil {
			r.NA("there is no database, as database-there says")
			return nil
		}
		return f(l, r, db)
	}
}

// WithDatabase looks if there is a database to be reached.
func WithDatabase(f func(*account.Look, *Recorder) error) func(*account.Look, *Recorder) error {
	return OnDatabase(func(l *account.Look, r *Recorder, _ *types.DBInstance) error { return f(l, r) })
}
