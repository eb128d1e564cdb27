package account

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// counter is typed state.
type counter struct{ n int }

func (c *counter) CloneState() State { x := *c; return &x }

func testModel() *Model {
	return &Model{
		Types: map[string]*Type{
			"T::A::B": {
				Name: "T::A::B", Latency: "ec2:vpc",
				Create: func(tx *Tx, r *Resource) error {
					if r.Props["bad"] == true {
						return Errorf("Bad", "it is bad")
					}
					r.ID, r.Status, r.State = tx.Name(r, 40), "pending", &counter{}
					return nil
				},
				Settle: func(_ *Tx, r *Resource, op string) error {
					if r.Props["late"] == true {
						return errors.New("too late")
					}
					r.Status = op + "d"
					return nil
				},
			},
		},
		Events: map[string]func(*Tx, Event){
			"tick": func(tx *Tx, e Event) {
				r := tx.Get("T::A::B", e.ID)
				r.State.(*counter).n++
				r.Data["ticks"] = fmt.Sprint(r.Data["ticks"], e.Data["name"], "@", tx.Now().Second(), " ")
			},
		},
	}
}

func newAccount(seed uint64) (*Account, *time.Time) {
	now := time.Date(2026, 8, 1, 0, 0, 0, 0, time.UTC)
	clock := &now
	return New(testModel(), Options{Now: func() time.Time { return *clock }, Seed: seed}), clock
}

func TestLifeOfAResource(t *testing.T) {
	t.Parallel()
	a, now := newAccount(0)
	var id string
	must := func(f func(tx *Tx) error) {
		t.Helper()
		if err := a.Do(f); err != nil {
			t.Fatal(err)
		}
	}
	must(func(tx *Tx) error {
		if _, _, err := tx.Create("T::A::B", map[string]any{"bad": true}, "me", true); err == nil || err.Error() != "Bad: it is bad" {
			t.Errorf("got %v", err)
		}
		if _, _, err := tx.Create("T::A::C", nil, "me", true); err == nil {
			t.Error("an unknown type was created")
		}
		r, d, err := tx.Create("T::A::B", map[string]any{}, "me", true)
		if d != 12*time.Second {
			t.Errorf("takes %s", d)
		}
		id = r.ID
		return err
	})
	status := func() (s string) {
		must(func(tx *Tx) error {
			if r := tx.Get("T::A::B", id); r != nil {
				s = r.Status
			}
			return nil
		})
		return s
	}
	*now = now.Add(11 * time.Second)
	got := []string{status()}
	*now = now.Add(time.Second)
	got = append(got, status())
	must(func(tx *Tx) error {
		_, err := tx.Update(tx.Get("T::A::B", id), map[string]any{"late": true}, true)
		return err
	})
	*now = now.Add(time.Minute)
	got = append(got, status())
	must(func(tx *Tx) error {
		r := tx.Get("T::A::B", id)
		got = append(got, fmt.Sprint(r.Data["failure"]))
		_, err := tx.Delete(r, true)
		return err
	})
	*now = now.Add(time.Minute)
	got = append(got, status())
	if d := cmp.Diff([]string{"pending", "created", "created", "too late", ""}, got); d != "" {
		t.Error(d)
	}
}

func TestEventsComeInOrderOfTime(t *testing.T) {
	t.Parallel()
	a, now := newAccount(0)
	_ = a.Do(func(tx *Tx) error {
		tx.Put(&Resource{Type: "T::A::B", ID: "x", Data: map[string]any{"ticks": ""}, State: &counter{}})
		for _, e := range []struct {
			name  string
			after time.Duration
		}{{"c", 3}, {"a", 1}, {"b", 2}, {"bb", 2}, {"far", 60}} {
			tx.After(e.after*time.Second, Event{Kind: "tick", ID: "x", Data: map[string]any{"name": e.name}})
		}
		return nil
	})
	fork := a.Clone(func() time.Time { return now.Add(2 * time.Minute) })
	*now = now.Add(10 * time.Second)
	for _, tc := range []struct {
		a    *Account
		want string
		n    int
	}{{a, "a@1 b@2 bb@2 c@3 ", 4}, {fork, "a@1 b@2 bb@2 c@3 far@0 ", 5}} {
		_ = tc.a.Do(func(tx *Tx) error {
			r := tx.Get("T::A::B", "x")
			if r.Data["ticks"] != tc.want || r.State.(*counter).n != tc.n {
				t.Errorf("got %q and %d, want %q and %d", r.Data["ticks"], r.State.(*counter).n, tc.want, tc.n)
			}
			return nil
		})
	}
}

func TestCloneSharesNothing(t *testing.T) {
	t.Parallel()
	a, now := newAccount(0)
	_ = a.Do(func(tx *Tx) error {
		tx.Put(&Resource{
			Type: "T::A::B", ID: "x", Props: map[string]any{"l": []any{map[string]any{"k": "v"}}}, Attrs: map[string]any{"a": "1"},
			Data: map[string]any{"d": map[string]any{}}, Tags: map[string]string{"t": "1"}, State: &counter{},
		})
		return nil
	})
	fork := a.Clone(func() time.Time { return *now })
	before := a.Resources()
	_ = fork.Do(func(tx *Tx) error {
		r := tx.Get("T::A::B", "x")
		r.Props["l"].([]any)[0].(map[string]any)["k"] = "changed"
		r.Attrs["a"], r.Tags["t"], r.Status = "2", "2", "changed"
		r.Data["d"].(map[string]any)["new"] = true
		r.State.(*counter).n = 9
		tx.Put(&Resource{Type: "T::A::B", ID: "y"})
		return nil
	})
	if d := cmp.Diff(before, a.Resources(), cmp.AllowUnexported(counter{})); d != "" {
		t.Errorf("the original has changed:\n%s", d)
	}
	if n := len(fork.Resources()); n != 2 {
		t.Errorf("the fork has %d resources", n)
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	a, _ := newAccount(0)
	stack := "arn:aws:cloudformation:us-east-1:123456789012:stack/my-long-stack-name/uuid"
	for _, tc := range []struct {
		owner, logical string
		limit          int
		prefix         string
	}{
		{stack, "Role", 64, "my-long-stack-name-Role-"},
		{stack, "ARatherLongLogicalIdentifier", 64, "my-long-stack-name-ARatherLongLogicalIdentifier-"},
		{stack, "ARatherLongLogicalIdentifier", 40, "my-long-stack-ARatherLongLo-"},
		{stack, "Role", 32, "my-long-stack-Role-"},
		{"me", "", 40, "B-"},
	} {
		_ = a.Do(func(tx *Tx) error {
			r := &Resource{Type: "T::A::B", Owner: tc.owner, LogicalID: tc.logical}
			one, two := tx.Name(r, tc.limit), tx.Name(r, tc.limit)
			if !strings.HasPrefix(one, tc.prefix) || len(one) > tc.limit || one == two || len(one) != len(tc.prefix)+12 {
				t.Errorf("%s %s %d: got %s and %s, want prefix %s", tc.owner, tc.logical, tc.limit, one, two, tc.prefix)
			}
			return nil
		})
	}
}

func TestZoneIDs(t *testing.T) {
	t.Parallel()
	for region, want := range map[string]string{"us-east-1": "use1", "ap-northeast-2": "apne2", "us-gov-west-1": "usgw1", "eu-central-1": "euc1", "ap-southeast-4": "apse4"} {
		if got := zoneIDPrefix(region); got != want {
			t.Errorf("%s: got %s, want %s", region, got, want)
		}
	}
}
