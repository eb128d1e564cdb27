package sandbox

import (
	"net/http"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/cloudtrail"
	"github.com/poolhouse/poolhouse/sandbox/fault"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// Break puts a plan of faults to work, from now on, in place of the one that
// was there. Clones go on with it, each by itself.
func (s *Sandbox) Break(i *fault.Injector) {
	s.account.Break(i)
	s.faults.Store(i)
	i.Attach(world{s})
}

// Faults are those at work, or nil.
func (s *Sandbox) Faults() *fault.Injector { return s.faults.Load() }

// Known is what faults in a region can be about; the usual zones if it is not
// empty.
func Known(region string) (fault.Known, error) {
	types, err := ResourceTypes()
	if err != nil {
		return fault.Known{}, err
	}
	for _, m := range modules(nil, nil) {
		for _, t := range m.types {
			types = append(types, t.Name)
		}
	}
	k := fault.Known{Operations: Operations(), Types: types}
	if region != "" {
		for _, z := range account.Zones(region) {
			k.Zones = append(k.Zones, z.Name, z.ID)
		}
	}
	return k, nil
}

// intercept asks the owner's options first, then the faults.
func (s *Sandbox) intercept(r *http.Request, service, operation string) error {
	if f := s.opts.Intercept; f != nil {
		if err := f(r, service, operation); err != nil {
			return err
		}
	}
	if i := s.faults.Load(); i != nil {
		return i.Intercept(r, service, operation)
	}
	return nil
}

// world is a sandbox as its faults see it.
type world struct{ s *Sandbox }

var _ fault.World = world{}

// Do implements [fault.World].
func (w world) Do(f func(tx *account.Tx) error) error { return w.s.account.Do(f) }

// Now implements [fault.World].
func (w world) Now() time.Time { return w.s.opts.Now() }

// LoseZone implements [fault.World].
func (w world) LoseZone(tx *account.Tx, zone string) error { return loseZone(tx, zone) }

// Call implements [fault.World].
func (w world) Call(tx *account.Tx, service, operation, caller string, in map[string]any) error {
	for _, m := range modules(nil, nil) {
		for _, s := range m.services {
			for _, o := range s.Operations {
				if s.Name != service || o.Name != operation {
					continue
				}
				defer func(before string) { tx.Caller = before }(tx.Caller)
				tx.Caller = caller
				if in == nil {
					in = map[string]any{}
				}
				req := &wire.Request{
					Service: service, Operation: operation, ID: tx.UUID(), Caller: caller, Region: w.s.opts.Region,
					SourceIP: "192.0.2.1", UserAgent: "colleague", Time: tx.Now(), In: in, Header: map[string][]string{},
				}
				if refusal := w.s.opts.authorize(tx, req); refusal != nil {
					cloudtrail.Record(tx, req, refusal)
					return refusal
				}
				_, err := o.Do(tx, req)
				cloudtrail.Record(tx, req, err)
				return err
			}
		}
	}
	return account.NotModelled("%s:%s is not modelled by the sandbox", service, operation)
}
