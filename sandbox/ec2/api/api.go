// Package api is the Amazon EC2 API: its operations over the resource types of
// package ec2 and of the packages below it, which do the physics.
//
// Every Describe operation is a [listing]: a function from the account to
// items, named as on the wire, and the filters that it knows. A filter that it
// doesn't know is refused, as EC2 does.
//
// Limits: filters that nobody asked for yet are missing although EC2 has them;
// client tokens are ignored, and DryRun looks at permissions only; the only
// region that exists is the account's.
package api

import (
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
	"github.com/poolhouse/poolhouse/sandbox/ec2/endpoint"
	"github.com/poolhouse/poolhouse/sandbox/ec2/flowlog"
	"github.com/poolhouse/poolhouse/sandbox/ec2/instance"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// Types are all resource types of Amazon EC2.
func Types() []*account.Type {
	var all []*account.Type
	for _, types := range [][]*account.Type{ec2.Types(), endpoint.Types(), flowlog.Types(), instance.Types()} {
		all = append(all, types...)
	}
	return all
}

// Service is Amazon EC2.
func Service() wire.Service {
	s := wire.Service{
		Name: "ec2", Version: "2016-11-15", Namespace: "http://ec2.amazonaws.com/doc/2016-11-15/", Protocol: wire.EC2Query,
		Operations: changes(),
	}
	for _, list := range [][]listing{networkListings(), transitListings(), filterListings(), instanceListings(), placeListings()} {
		for _, l := range list {
			s.Operations = append(s.Operations, l.operation())
		}
	}
	for i, o := range s.Operations {
		s.Operations[i].Do = dry(o.Do)
	}
	return s
}
