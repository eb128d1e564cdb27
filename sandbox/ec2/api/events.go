package api

import (
	"maps"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
	"github.com/poolhouse/poolhouse/sandbox/ec2/instance"
)

// Events are what Amazon EC2 lets happen by itself.
func Events() map[string]func(*account.Tx, account.Event) {
	all := map[string]func(*account.Tx, account.Event){}
	for _, events := range []map[string]func(*account.Tx, account.Event){ec2.Events(), instance.Events()} {
		maps.Copy(all, events)
	}
	return all
}
