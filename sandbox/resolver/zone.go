package resolver

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/elbv2"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/rds"
	"github.com/poolhouse/poolhouse/sandbox/route53"
)

// How many names are followed, and how long, in seconds, addresses of load
// balancers and databases may be kept.
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/Concepts.MultiAZ.Failover.html
const (
	mostHops    = 16
	balancerTTL = 60
	databaseTTL = 5
)

// reader looks a question up in an account.
type reader struct {
	tx    *account.Tx
	opts  *Options
	asked Question
	zones map[string][]route53.Record // by id, as far as they were read
	out   Result
}

func look(tx *account.Tx, o *Options, q Question) Result {
	r := &reader{tx: tx, opts: o, asked: q, zones: map[string][]route53.Record{}}
	name, here := q.Name, true
	for range mostHops {
		next, found := r.follow(name)
		switch {
		case !found && here:
			return Result{Code: dnsmessage.RCodeRefused, Why: r.unknown(name)}
		case !found || next == "":
			return r.out
		}
		name, here = next, false
	}
	return Result{Code: serverFailure, Why: fmt.Sprintf("%s leads to more than %d other names", q.Name, mostHops)}
}

// unknown says why a name is refused.
func (r *reader) unknown(name string) string {
	for _, z := range r.tx.List(route53.TypeHostedZone) {
		if !within(name, route53.Domain(z)) {
			continue
		}
		if route53.Private(z) {
			return fmt.Sprintf("zone %s (%s) is private, and answered within its VPCs only", route53.Domain(z), z.ID)
		}
		return fmt.Sprintf("nothing delegates to zone %s (%s)", route53.Domain(z), z.ID)
	}
	return "the account has no such zone, and nobody else is asked"
}

func within(name, zone string) bool { return name == zone || strings.HasSuffix(name, "."+zone) }

// follow answers for one name, and returns the name that it leads to, if that
// has to be looked up as well. It is not found if nobody here answers for it.
func (r *reader) follow(name string) (next string, found bool) {
	if r.own(name) {
		return "", true
	}
	z := r.zone(name)
	if z == nil {
		return "", false
	}
	all := r.records(z)
	if cut := delegated(all, route53.Domain(z), name); cut != nil {
		r.put(cut.Name, *cut, &r.out.Authority)
		r.out.Referral = true
		return "", true
	}
	here, there := at(all, name, route53.Domain(z))
	for _, rec := range here {
		if rec.Alias != "" {
			rec = r.target(rec, rec.Type)
		}
		if rec.Type == "CNAME" && r.asked.Type != dnsmessage.TypeCNAME {
			r.put(name, rec, &r.out.Answers)
			if len(rec.Values) == 1 {
				next = canonical(rec.Values[0])
			}
			return next, true
		}
	}
	before := len(r.out.Answers)
	for _, rec := range here {
		if t, known := types[rec.Type]; known && t == r.asked.Type {
			r.put(name, rec, &r.out.Answers)
		} else if !known && number(rec.Type) == r.asked.Type {
			r.out.Code, r.out.Why = dnsmessage.RCodeNotImplemented, fmt.Sprintf("records of type %s are not answered", rec.Type)
			return "", true
		}
	}
	if len(r.out.Answers) == before && r.out.Code == dnsmessage.RCodeSuccess {
		r.nothing(there, all[1])
	}
	return "", true
}

// number is the type of records that are not answered.
func number(typ string) dnsmessage.Type {
	return map[string]dnsmessage.Type{"DS": 43, "HTTPS": 65, "NAPTR": 35, "SPF": 99, "SSHFP": 44, "SVCB": 64, "TLSA": 52}[typ]
}

// nothing says that there is no such record, by the zone's start of authority,
// for as long as that lasts; and that there is no such name, if so.
//
// https://www.rfc-editor.org/rfc/rfc2308
func (r *reader) nothing(there bool, soa route53.Record) {
	if !there {
		r.out.Code = dnsmessage.RCodeNameError
	}
	r.put(soa.Name, soa, &r.out.Authority)
}

// own answers for the names of load balancers and databases, which are in zones
// of AWS's.
func (r *reader) own(name string) bool {
	plain := strings.TrimSuffix(strings.TrimPrefix(name, "dualstack."), ".")
	if lb := r.tx.Find(elbv2.TypeLoadBalancer, func(lb *account.Resource) bool {
		return strings.EqualFold(props.Str(lb.Attrs, "DNSName"), plain)
	}); lb != nil {
		_, zone, _ := strings.Cut(plain, ".")
		r.address(name, plain, zone+".", balancerTTL, true)
		return true
	}
	// The account's endpoints share a domain that nobody else has names in.
	domain := rds.Domain(r.tx)
	if !strings.HasSuffix(plain, "."+domain) {
		return false
	}
	db := r.tx.Find(rds.TypeInstance, func(db *account.Resource) bool {
		return strings.EqualFold(props.Str(db.Attrs, "Endpoint.Address"), plain) && db.Status != "creating"
	})
	r.address(name, plain, domain+".", databaseTTL, db != nil)
	return true
}

// address answers with where something is.
func (r *reader) address(name, plain, zone string, ttl int, there bool) {
	a := r.opts.address(plain)
	typ := "A"
	if a.Is6() {
		typ = "AAAA"
	}
	if there && types[typ] == r.asked.Type {
		r.put(name, route53.Record{Type: typ, TTL: ttl, Values: []string{a.String()}}, &r.out.Answers)
		return
	}
	r.nothing(there, route53.Record{Name: zone, Type: "SOA", TTL: 60, Values: []string{"ns-0.awsdns-00.com. awsdns-hostmaster.amazon.com. 1 7200 900 1209600 60"}})
}

// zone is the zone that answers for a name: of those that a resolver is led to,
// the one that is nearest to it, private ones first.
func (r *reader) zone(name string) *account.Resource {
	var best *account.Resource
	for _, z := range r.tx.List(route53.TypeHostedZone) {
		d, private := route53.Domain(z), route53.Private(z)
		if !within(name, d) || private && !r.opts.PrivateZones || !private && !route53.Delegated(r.tx, z) {
			continue
		}
		if best == nil || len(d) > len(route53.Domain(best)) || len(d) == len(route53.Domain(best)) && private && !route53.Private(best) {
			best = z
		}
	}
	return best
}

func (r *reader) records(z *account.Resource) []route53.Record {
	if _, ok := r.zones[z.ID]; !ok {
		r.zones[z.ID] = route53.Served(r.tx, z)
	}
	return r.zones[z.ID]
}

// delegated is the record by which a zone leaves a name to others, or nil.
func delegated(all []route53.Record, zone, name string) *route53.Record {
	for i := range all {
		if rec := &all[i]; rec.Type == "NS" && rec.Name != zone && within(name, rec.Name) {
			return rec
		}
	}
	return nil
}

// at are the records of a name, which may be those of a wildcard, and whether the
// name is there: also one that has only names below it is.
//
// https://www.rfc-editor.org/rfc/rfc4592
func at(all []route53.Record, name, zone string) (here []route53.Record, there bool) {
	exact := func(name string) (out []route53.Record, is bool) {
		for _, rec := range all {
			if rec.Name == name {
				out = append(out, rec)
			}
			is = is || within(rec.Name, name)
		}
		return out, is
	}
	if here, there = exact(name); there {
		return here, true
	}
	for up := name; up != zone; {
		_, up, _ = strings.Cut(up, ".")
		if _, is := exact(up); is {
			here, _ = exact("*." + up)
			return here, len(here) > 0
		}
	}
	return nil, false
}

// put adds the values of a record, or of what it is an alias of.
func (r *reader) put(name string, rec route53.Record, to *[]dnsmessage.Resource) {
	if rec.Alias != "" {
		rec = r.target(rec, rec.Type)
	}
	for _, v := range rec.Values {
		res, err := resource(name, types[rec.Type], rec.TTL, v)
		if err != nil {
			r.out = Result{Code: serverFailure, Why: err.Error()}
			return
		}
		*to = append(*to, res)
	}
}

// target has the values of an alias's target: a load balancer, or another record
// of the zone; none if it is gone.
//
// https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/resource-record-sets-choosing-alias-non-alias.html
func (r *reader) target(rec route53.Record, typ string) route53.Record {
	for range mostHops {
		sub := &reader{tx: r.tx, opts: r.opts, asked: Question{Name: rec.Alias, Type: types[typ]}, zones: r.zones}
		if sub.own(rec.Alias) {
			out := route53.Record{Type: typ, TTL: balancerTTL}
			if len(sub.out.Answers) > 0 {
				out.Values = []string{r.opts.address(strings.TrimSuffix(rec.Alias, ".")).String()}
			}
			return out
		}
		z := r.zone(rec.Alias)
		if z == nil {
			return route53.Record{Type: typ}
		}
		here, _ := at(r.records(z), rec.Alias, route53.Domain(z))
		i := slices.IndexFunc(here, func(x route53.Record) bool { return x.Type == typ })
		if i < 0 {
			return route53.Record{Type: typ}
		}
		if rec = here[i]; rec.Alias == "" {
			return rec
		}
	}
	return route53.Record{Type: typ}
}

func canonical(name string) string {
	return strings.TrimSuffix(strings.ToLower(name), ".") + "."
}
