package network

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// AWS is [Outside] where the names of AWS's services lead to one address of this
// machine, which leads on by the name that a TLS connection asks for, and the names of
// database instances to their own. Names of what speaks other protocols lead nowhere.
type AWS struct {
	At string
	// Databases is where DNS answers with the loopback addresses of instances; empty
	// if they lead nowhere.
	Databases string
}

var _ Outside = AWS{}

// The ports of AWS's services, and of PostgreSQL.
const (
	https    = 443
	postgres = 5432
)

// suffixes are those of AWS's names, instances that of databases', elsewhere those of
// what isn't a service.
var (
	suffixes  = []string{".amazonaws.com", ".amazonaws.com.cn", ".api.aws"}
	instances = ".rds.amazonaws.com"
	elsewhere = []string{instances, ".cache.amazonaws.com", ".compute.amazonaws.com"}
)

// database tells whether a name is an instance's: NAME.ACCOUNT.REGION and the suffix.
// The API's own have fewer parts.
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_ConnectToPostgreSQLInstance.html
func (a AWS) database(name string) bool {
	own, is := strings.CutSuffix(name, instances)
	return is && a.Databases != "" && strings.Count(own, ".") == 2
}

// Leads implements [Outside].
func (a AWS) Leads(name string) []uint16 {
	if a.database(name) {
		return []uint16{postgres}
	}
	for _, s := range elsewhere {
		if strings.HasSuffix(name, s) {
			return nil
		}
	}
	for _, s := range suffixes {
		if strings.HasSuffix(name, s) {
			return []uint16{https}
		}
	}
	return nil
}

// Call implements [Outside].
func (a AWS) Call(ctx context.Context, name string, port uint16) (net.Conn, error) {
	var d net.Dialer
	if !a.database(name) {
		return d.DialContext(ctx, "tcp", a.At)
	}
	names := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return d.DialContext(ctx, network, a.Databases)
	}}
	found, err := names.LookupNetIP(ctx, "ip4", name+".")
	if err != nil {
		return nil, err
	}
	for _, at := range found {
		// What pods reach on this machine is what the sandbox has put there.
		if at.Unmap().IsLoopback() && at.Unmap() != netip.AddrFrom4([4]byte{127, 0, 0, 1}) {
			return d.DialContext(ctx, "tcp", net.JoinHostPort(at.Unmap().String(), strconv.Itoa(int(port))))
		}
	}
	return nil, fmt.Errorf("%s is no instance that is there", name)
}
