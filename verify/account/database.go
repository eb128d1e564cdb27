package account

import (
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/rds/types"
)

// databaseFacts are what the database is.
type databaseFacts struct {
	databaseFact Fact[*types.DBInstance]
}

// Database is the RDS instance, or nil.
func (l *Look) Database() (*types.DBInstance, error) {
	return l.databaseFact.Get(func() (*types.DBInstance, error) {
		name := l.Arch.DatabaseName()
		out, err := OrNone(l.AWS.RDS.DescribeDBInstances(l.Ctx, &rds.DescribeDBInstancesInput{DBInstanceIdentifier: &name}))
		switch {
		case err != nil:
			return nil, fmt.Errorf("look up database %s: %w", name, err)
		case out == nil || len(out.DBInstances) == 0:
			return nil, nil
		}
		return &out.DBInstances[0], nil
	})
}
