package sandbox

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// hostile are values of every kind, most of them wrong for whatever reads them.
func hostile(ids []string) []any {
	values := []any{
		"", "x", "-1", "arn:aws:iam::123456789012:role/x", strings.Repeat("a", 3000), "{}", "[1", "{\"Statement\":[null]}", "10.0.0.0/33", "::", "*", "/", "%00", "\x00\xff",
		float64(-1), 1e300, 1, true, nil,
		[]any{},
		[]any{nil, 1, "x", map[string]any{}, []any{[]any{}}},
		map[string]any{},
		map[string]any{"Key": 1, "Value": []any{}, "Name": "x", "Values": "x"},
		[]any{map[string]any{"Key": "a", "Value": nil}},
		[]any{""},
		time.Time{},
	}
	for _, id := range ids {
		values = append(values, id)
	}
	return values
}

// plant makes some resources, so that calls get beyond what isn't there.
func plant(t testing.TB, box *Sandbox) {
	t.Helper()
	err := box.Account().Do(func(tx *account.Tx) error {
		for _, r := range []struct {
			typ   string
			props map[string]any
		}{
			{"AWS::KMS::Key", map[string]any{}},
			{"AWS::S3::Bucket", map[string]any{"BucketName": "hostile-1", "ObjectLockEnabled": true}},
			{"AWS::S3::BucketPolicy", map[string]any{"Bucket": "hostile-1", "PolicyDocument": `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"arn:aws:s3:::hostile-1/*"}}`}},
			{"AWS::ECR::Repository", map[string]any{"RepositoryName": "hostile"}},
			{"AWS::SSM::Parameter", map[string]any{"Name": "/hostile", "Type": "String", "Value": "x"}},
			{"AWS::SecretsManager::Secret", map[string]any{"Name": "hostile", "SecretString": "x"}},
			{"AWS::Logs::LogGroup", map[string]any{"LogGroupName": "/hostile"}},
			{"AWS::SNS::Topic", map[string]any{"TopicName": "hostile"}},
			{"AWS::Route53::HostedZone", map[string]any{"Name": "example.com"}},
			{"AWS::EC2::VPC", map[string]any{"CidrBlock": "10.0.0.0/16"}},
		} {
			made, _, err := tx.Create(r.typ, r.props, box.Principals()[0].ARN, false)
			if err == nil {
				err = tx.Settle(made, "create")
			}
			if err != nil {
				return fmt.Errorf("create %s: %w", r.typ, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestHostileInput calls every operation with input that makes no sense: none
// may panic or fail as the sandbox's own error. With AWS's service models at
// hand, the members have their right names.
func TestHostileInput(t *testing.T) {
	t.Parallel()
	const seed, rounds = 1, 150
	dir := os.Getenv("POOLHOUSE_API_MODELS")
	files := map[string]string{"elasticloadbalancing": "elbv2"}
	for _, m := range modules(nil, nil) {
		for _, s := range m.services {
			name := cmp.Or(s.API, s.Name)
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				if files[name] != "" {
					name = files[name]
				}
				var model apiModel
				if dir != "" {
					model, _ = readModel(t, filepath.Join(dir, name+".json.gz"))
				}
				box := New(Options{Now: func() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }})
				plant(t, box)
				var ids []string
				for _, r := range box.Account().Resources() {
					ids = append(ids, r.ID)
				}
				values := hostile(ids)
				for _, o := range s.Operations {
					random := rand.New(rand.NewPCG(seed, uint64(len(o.Name))))
					for round := range rounds {
						in := map[string]any{}
						for _, member := range model.members(o) {
							// Rounds differ in how much is filled in.
							if round == 0 || random.IntN(rounds) < round {
								in[member] = account.Copy(values[random.IntN(len(values))])
							}
						}
						call(t, box, s, o, in, fmt.Sprintf("seed %d round %d", seed, round))
					}
				}
				if err := box.Account().CheckIndexes(); err != nil {
					t.Errorf("after seed %d: %v", seed, err)
				}
			})
		}
	}
}

// members are the names of an operation's input, as queries spell them too.
func (m apiModel) members(o wire.Operation) []string {
	var out []string
	for name, member := range m.Shapes[m.Operations[o.Name].Input.Shape].Members {
		out = append(out, name)
		if l := member.LocationName; l != "" {
			out = append(out, l, strings.ToUpper(l[:1])+l[1:])
		}
	}
	for _, part := range strings.Split(o.Path, "/") {
		if label, ok := strings.CutPrefix(part, "{"); ok {
			out = append(out, strings.TrimRight(label, "+}"))
		}
	}
	return out
}

func call(t *testing.T, box *Sandbox, s wire.Service, o wire.Operation, in map[string]any, when string) {
	t.Helper()
	defer func() {
		if p := recover(); p != nil {
			t.Fatalf("%s:%s panics (%s): %v\ninput %.2000v\n%s", s.Name, o.Name, when, p, in, debug.Stack())
		}
	}()
	err := box.Account().Do(func(tx *account.Tx) error {
		tx.Caller = box.Principals()[0].ARN
		_, err := o.Do(tx, &wire.Request{Service: s.Name, Operation: o.Name, ID: "1", Caller: tx.Caller, Time: tx.Now(), In: in, Body: []byte("<x"), Header: map[string][]string{"X-Amz-Copy-Source": {"%zz"}}})
		return err
	})
	var refusal *account.Error
	if err != nil && !errors.As(err, &refusal) {
		t.Errorf("%s:%s fails (%s): %v\ninput %.500v", s.Name, o.Name, when, err, in)
	}
}
