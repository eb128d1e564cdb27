package access

import (
	"testing"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

func BenchmarkOf(b *testing.B) {
	a := account.New(&account.Model{}, account.Options{Now: time.Now})
	r := &wire.Request{Service: "cloudformation", Operation: "DescribeStacks", In: map[string]any{"StackName": "x"}}
	_ = a.Do(func(tx *account.Tx) error {
		for b.Loop() {
			Of(tx, r)
		}
		return nil
	})
}
