package fault

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/rds"
)

// The servers behind an account, by the names that faults call them.
const (
	ServerS3           = "s3"
	ServerECR          = "ecr"
	ServerDatabase     = "database"
	ServerProvider     = "provider"
	ServerLoadBalancer = "load-balancer"
)

// What can be wrong with a certificate.
const (
	WrongExpired   = "expired"
	WrongName      = "name"
	WrongAuthority = "authority"
)

// victims are the servers that each kind of fault happens to.
var victims = map[string][]string{
	"crash":       {ServerS3, ServerECR, ServerDatabase, ServerProvider},
	"full":        {ServerDatabase},
	"lag":         {ServerS3, ServerECR, ServerDatabase, ServerProvider, ServerLoadBalancer},
	"certificate": {ServerS3, ServerECR, ServerDatabase, ServerProvider, ServerLoadBalancer},
	"failover":    {ServerDatabase},
	"targets":     {ServerLoadBalancer},
}

// acts tells whether a fault does something by itself when its time has come.
func (f *Fault) acts() bool {
	return f.Call != nil || f.InFlight != nil || f.Zone != nil || f.Crash != nil || f.Failover != nil || f.Full != nil
}

// servers checks the faults of servers.
func (c *checker) servers(f *Fault) {
	switch {
	case f.Crash != nil:
		c.server("crash.server", f.Crash.Server, victims["crash"]...)
		if f.Crash.Database != "" && f.Crash.Server != ServerDatabase && !c.skip("crash.server") {
			c.wrong("crash.database", "has no meaning for "+f.Crash.Server, "leave it out; it is for server: database")
		}
		c.database("crash.database", f.Crash.Database)
	case f.Failover != nil:
		c.database("failover.database", f.Failover.Database)
	case f.Full != nil:
		switch {
		case f.Full.Server == ServerS3:
			c.wrong("full.server", "S3 can't be full: a bucket takes as much as is put into it", "have its calls refused: error: {service: s3}, or throttle")
		case f.Full.Server == ServerECR:
			c.wrong("full.server", "ECR can't be full: a repository takes as many layers as are pushed", "have its calls refused: error: {service: ecr}, or throttle")
		case f.Full.Server != "":
			c.server("full.server", f.Full.Server, victims["full"]...)
		}
		c.database("full.database", f.Full.Database)
	case f.Lag != nil:
		c.server("lag.server", f.Lag.Server, victims["lag"]...)
		if f.Lag.Database != "" && f.Lag.Server != ServerDatabase && !c.skip("lag.server") {
			c.wrong("lag.database", "has no meaning for "+f.Lag.Server, "leave it out; it is for server: database")
		}
		c.glob("lag.database", f.Lag.Database)
		if f.Lag.Rate < 0 {
			c.wrong("lag.rate", fmt.Sprintf("is %d", f.Lag.Rate), "write how many bytes come in a second, such as 100000")
		}
		if f.Lag.Rate > 0 && f.Lag.Server == ServerS3 {
			c.wrong("lag.rate", "has no meaning for s3", "say how late its answers begin: delay")
		}
		if f.Lag.Rate == 0 && f.Lag.Delay == 0 && !c.skip("lag.delay") && !c.skip("lag.rate") {
			c.wrong("lag", "has neither a delay nor a rate", "say how late answers begin, such as delay: 2s, or how many bytes come in a second, such as rate: 100000")
		}
	case f.Certificate != nil:
		c.glob("certificate.host", f.Certificate.Host)
		if w := f.Certificate.Wrong; !slices.Contains([]string{WrongExpired, WrongName, WrongAuthority}, w) && !c.skip("certificate.wrong") {
			c.wrong("certificate.wrong", fmt.Sprintf("%q is nothing that can be wrong", w), "write expired, name or authority")
		}
	case f.Targets != nil:
		c.glob("targets.group", f.Targets.Group)
	}
}

func (c *checker) server(key, server string, known ...string) {
	switch {
	case c.skip(key) || slices.Contains(known, server):
	case server == "":
		c.wrong(key, "is missing", "write one of "+strings.Join(known, ", "))
	default:
		c.wrong(key, fmt.Sprintf("%q is no server that this happens to", server), "write "+strings.Join(known, " or "))
	}
}

func (c *checker) database(key, pattern string) {
	c.glob(key, pattern)
	c.references(key, pattern)
}

// breakServer has a server fail, now.
func (i *Injector) breakServer(tx *account.Tx, f *Fault) (string, error) {
	if c := f.Crash; c != nil && c.Server != ServerDatabase {
		if i.opts.Kill != nil {
			i.opts.Kill(c.Server)
		}
		return c.Server + " is down", nil
	}
	var pattern string
	var does func(fits func(string) bool) ([]string, error)
	var what string
	switch {
	case f.Crash != nil:
		pattern, what = f.Crash.Database, "fails and recovers"
		does = func(fits func(string) bool) ([]string, error) { return rds.Crash(tx, fits, f.For) }
	case f.Failover != nil:
		pattern, what = f.Failover.Database, "fails over"
		does = func(fits func(string) bool) ([]string, error) { return rds.FailOver(tx, fits) }
	default:
		pattern, what = f.Full.Database, "has no storage left"
		does = func(fits func(string) bool) ([]string, error) { return rds.Fill(tx, fits, f.For) }
	}
	v, err := resolve(tx, pattern)
	if err != nil {
		return "database " + pattern + " " + what, err
	}
	if s, ok := v.(string); ok {
		pattern = s
	}
	ids, err := does(func(id string) bool { return matches(pattern, id) })
	if err != nil {
		if pattern == "" {
			pattern = "*"
		}
		ids = []string{pattern}
	}
	return "database " + strings.Join(ids, ", ") + " " + what, err
}

// lasting is the first fault of a kind that is at work now; it is noted once for
// each name that it is met under. Nil has none.
func (i *Injector) lasting(name string, is func(*Fault) bool, what string) *Fault {
	if i == nil {
		return nil
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.world == nil {
		return nil
	}
	now := i.world.Now()
	for n := range i.plan.Faults {
		f := &i.plan.Faults[n]
		if !is(f) || !i.active(n, now) {
			continue
		}
		if s := &i.states[n]; !s.met[name] {
			s.met[name] = true
			i.fired(n, now, name+" "+what)
		}
		return f
	}
	return nil
}

// Down tells whether a server is away. Nil has none.
func (i *Injector) Down(server string) bool {
	return i.lasting(server, func(f *Fault) bool { return f.Crash != nil && f.Crash.Server == server }, "is not reached") != nil
}

// Certificate is what is wrong with the certificate for some names, now: one of
// the constants, or "". Nil finds nothing wrong.
func (i *Injector) Certificate(names []string) string {
	f := i.lasting(strings.Join(names, ", "), func(f *Fault) bool {
		return f.Certificate != nil && slices.ContainsFunc(names, func(n string) bool { return matches(f.Certificate.Host, n) })
	}, "shows a certificate that clients refuse")
	if f == nil {
		return ""
	}
	return f.Certificate.Wrong
}

// Unhealthy tells whether health checks of a target group's targets fail. Nil
// lets them pass.
func (i *Injector) Unhealthy(group string) bool {
	return i.lasting(group, func(f *Fault) bool { return f.Targets != nil && matches(f.Targets.Group, group) }, "has unhealthy targets") != nil
}

// Lag passes the time by which a server other than a database's sends some bytes
// late: begin tells that they begin an answer. Nil passes none.
func (i *Injector) Lag(ctx context.Context, server string, bytes int, begin bool) error {
	return i.late(ctx, server, func(l *Lag) bool { return l.Server == server }, bytes, begin)
}

// LagOfDatabase is [Injector.Lag] for the server of the database instance with an
// identifier.
func (i *Injector) LagOfDatabase(ctx context.Context, id string, bytes int, begin bool) error {
	return i.late(ctx, "database "+id, func(l *Lag) bool { return l.Server == ServerDatabase && matches(l.Database, id) }, bytes, begin)
}

func (i *Injector) late(ctx context.Context, name string, is func(*Lag) bool, bytes int, begin bool) error {
	f := i.lasting(name, func(f *Fault) bool { return f.Lag != nil && is(f.Lag) }, "answers slowly")
	if f == nil || i.opts.Sleep == nil {
		return nil
	}
	var d time.Duration
	if begin {
		d = f.Lag.Delay
	}
	if f.Lag.Rate > 0 {
		d += time.Duration(float64(bytes) / float64(f.Lag.Rate) * float64(time.Second))
	}
	if d <= 0 {
		return nil
	}
	if err := i.opts.Sleep(ctx, d); err != nil {
		return errors.Join(err, ctx.Err())
	}
	return nil
}
