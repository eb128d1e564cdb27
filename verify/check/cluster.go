package check

import (
	"github.com/aws/aws-sdk-go-v2/service/eks/types"

	"github.com/poolhouse/poolhouse/verify/account"
)

// OnCluster looks at the cluster. Where there is none, a check has nothing to
// look at; cluster-active says so.
func OnCluster(f func(l *account.Look, r *Recorder, c *types.Cluster) error) func(*account.Look, *Recorder) error {
	return func(l *account.Look, r *Recorder) error {
		c, err := l.Cluster()
		if err != nil || c == nil {
			return err
		}
		return f(l, r, c)
	}
}
