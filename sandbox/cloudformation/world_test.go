package cloudformation

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/cloudformation/stack"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/secretsmanager"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// failer is a test, a benchmark or a property.
type failer interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// world is an account with a clock that tests turn.
type world struct {
	tb  failer
	now time.Time
	a   *account.Account
	ops map[string]func(*account.Tx, *wire.Request) (any, error)
	// lastCaller is who deleted a resource last.
	lastCaller string
}

type in = map[string]any

// kinds are resource types that behave like AWS's, only simpler. Their
// description or tags make them fail: "fail create", "fail settle", "fail
// update", "fail delete".
func (w *world) kinds() map[string]*account.Type {
	types := map[string]*account.Type{}
	add := func(name, latency, prefix, named string, attrs func(tx *account.Tx, r *account.Resource, p map[string]any)) {
		fails := func(p map[string]any, when string) error {
			if strings.Contains(fmt.Sprint(p), "fail "+when) {
				return account.Errorf("InvalidRequest", "told to %s", when)
			}
			return nil
		}
		types[name] = &account.Type{
			Name: name, Latency: latency,
			Create: func(tx *account.Tx, r *account.Resource) error {
				if err := fails(r.Props, "create"); err != nil {
					return err
				}
				switch {
				case named != "" && props.Str(r.Props, named) != "":
					r.ID = props.Str(r.Props, named)
				case named != "":
					r.ID = tx.Name(r, 63)
				default:
					r.ID = prefix + tx.HexID(17)
				}
				if tx.Get(name, r.ID) != nil {
					return account.Errorf("AlreadyExists", "Resource of type '%s' with identifier '%s' already exists.", name, r.ID)
				}
				maps.Copy(r.Tags, props.Tags(r.Props, "Tags"))
				r.Data["caller"] = tx.Caller
				if attrs != nil {
					attrs(tx, r, r.Props)
				}
				return nil
			},
			Update: func(tx *account.Tx, r *account.Resource, next map[string]any) error {
				if strings.Contains(fmt.Sprint(next), "ask replace") && !strings.Contains(fmt.Sprint(r.Props), "ask replace") {
					return account.ErrReplace
				}
				if err := fails(next, "update"); err != nil {
					return err
				}
				if r.Data["stuck"] == true {
					return account.Errorf("InvalidRequest", "stuck")
				}
				r.Tags = props.Tags(next, "Tags")
				if attrs != nil {
					attrs(tx, r, next)
				}
				return nil
			},
			Settle: func(tx *account.Tx, r *account.Resource, op string) error {
				r.Data["settled"] = fmt.Sprint(r.Data["settled"], op, " ")
				if until, ok := r.Data["until"].(time.Time); ok && tx.Now().Before(until) {
					return account.Later(30 * time.Second)
				}
				return fails(r.Props, "settle")
			},
			Delete: func(tx *account.Tx, r *account.Resource) error {
				w.lastCaller = tx.Caller
				if name == "AWS::EC2::VPC" {
					if tx.Find("AWS::EC2::Subnet", func(s *account.Resource) bool { return s.Props["VpcId"] == r.ID }) != nil {
						return account.Errorf("DependencyViolation", "The vpc '%s' has dependencies and cannot be deleted.", r.ID)
					}
				}
				if r.Data["locked"] == true {
					return account.Errorf("InvalidRequest", "locked")
				}
				return nil
			},
			Gone: func(tx *account.Tx, r *account.Resource) {
				if r.Data["DeletionPolicy"] == "Snapshot" {
					tx.Put(&account.Resource{Type: "test:snapshot", ID: r.ID})
				}
			},
		}
	}
	add("AWS::EC2::VPC", "ec2:vpc", "vpc-", "", func(tx *account.Tx, r *account.Resource, _ map[string]any) {
		r.Attrs["VpcId"] = r.ID
		if r.Attrs["DefaultSecurityGroup"] == nil {
			r.Attrs["DefaultSecurityGroup"] = "sg-" + tx.HexID(17)
		}
	})
	add("AWS::EC2::Subnet", "ec2:subnet", "subnet-", "", func(_ *account.Tx, r *account.Resource, _ map[string]any) { r.Attrs["SubnetId"] = r.ID })
	add("AWS::EC2::SecurityGroup", "ec2:sg", "sg-", "", func(_ *account.Tx, r *account.Resource, _ map[string]any) { r.Attrs["GroupId"] = r.ID })
	add("AWS::EC2::LaunchTemplate", "", "lt-", "", nil)
	add("AWS::AutoScaling::AutoScalingGroup", "", "", "AutoScalingGroupName", nil)
	add("AWS::IAM::Role", "iam:role", "", "RoleName", func(tx *account.Tx, r *account.Resource, _ map[string]any) {
		r.Attrs["Arn"] = tx.GlobalARN("iam", "role/"+r.ID)
	})
	add("AWS::S3::Bucket", "s3:bucket", "", "BucketName", func(_ *account.Tx, r *account.Resource, _ map[string]any) { r.Attrs["Arn"] = "arn:aws:s3:::" + r.ID })
	add("AWS::SSM::Parameter", "ssm:parameter", "", "Name", func(_ *account.Tx, r *account.Resource, p map[string]any) {
		r.Attrs["Value"] = p["Value"]
		r.Attrs["Type"] = p["Type"]
	})
	add("AWS::ECR::Repository", "", "", "RepositoryName", nil)
	add("AWS::RDS::DBInstance", "rds:instance-single", "", "DBInstanceIdentifier", nil)
	for _, t := range append(Types(), secretsmanager.Types()...) {
		types[t.Name] = t
	}
	return types
}

func newWorld(tb failer) *world {
	w := &world{tb: tb, now: time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)}
	w.a = account.New(&account.Model{Types: w.kinds(), Events: Events()}, account.Options{Now: func() time.Time { return w.now }})
	w.ops = map[string]func(*account.Tx, *wire.Request) (any, error){}
	for _, o := range Service().Operations {
		w.ops[o.Name] = o.Do
	}
	return w
}

// call carries out an operation.
func (w *world) call(op string, input in) (map[string]any, error) {
	w.tb.Helper()
	f := w.ops[op]
	if f == nil {
		w.tb.Fatalf("no operation %s", op)
	}
	var out map[string]any
	err := w.a.Do(func(tx *account.Tx) error {
		tx.Caller = "arn:aws:iam::123456789012:user/tester"
		v, err := f(tx, &wire.Request{Service: "cloudformation", Operation: op, In: input})
		out, _ = v.(map[string]any)
		return err
	})
	return out, err
}

func (w *world) must(op string, input in) map[string]any {
	w.tb.Helper()
	out, err := w.call(op, input)
	if err != nil {
		w.tb.Fatalf("%s: %v", op, err)
	}
	return out
}

// refused checks that an operation is refused with code and message.
func (w *world) refused(want, op string, input in) {
	w.tb.Helper()
	_, err := w.call(op, input)
	got := ""
	if err != nil {
		got = strings.ReplaceAll(err.Error(), w.idOf(fmt.Sprint(input["StackName"])), "ARN")
	}
	if got != want {
		w.tb.Errorf("%s: got error\n%s\nwant\n%s", op, got, want)
	}
}

func (w *world) idOf(name string) string {
	id := name + "!"
	_ = w.a.Do(func(tx *account.Tx) error {
		if e := stack.Find(tx, name); e != nil {
			id = e.Stack.ID
		}
		return nil
	})
	return id
}

func (w *world) pass(d time.Duration) { w.now = w.now.Add(d) }

func (w *world) stack(name string) map[string]any {
	w.tb.Helper()
	l, _ := w.must("DescribeStacks", in{"StackName": name})["Stacks"].([]any)
	return l[0].(map[string]any)
}

func (w *world) status(name string) string { return w.stack(name)["StackStatus"].(string) }

// rest lets time pass until nothing goes on in the stack.
func (w *world) rest(nameOrID string) string {
	w.tb.Helper()
	for range 2000 {
		if s := w.status(nameOrID); !strings.HasSuffix(s, "_IN_PROGRESS") || s == "REVIEW_IN_PROGRESS" {
			return s
		}
		w.pass(10 * time.Second)
	}
	w.tb.Fatalf("stack %s stays %s", nameOrID, w.status(nameOrID))
	return ""
}

// story are the stack's events in order of time, from the n-th on, with ids
// cut out.
func (w *world) story(name string, from int) []string {
	w.tb.Helper()
	var all []map[string]any
	token := ""
	for {
		input := in{"StackName": name}
		if token != "" {
			input["NextToken"] = token
		}
		out := w.must("DescribeStackEvents", input)
		for _, x := range out["StackEvents"].([]any) {
			all = append(all, x.(map[string]any))
		}
		if token, _ = out["NextToken"].(string); token == "" {
			break
		}
	}
	slices.Reverse(all)
	var lines []string
	for _, m := range all[from:] {
		l := fmt.Sprintf("%s %s", m["LogicalResourceId"], m["ResourceStatus"])
		if r, ok := m["ResourceStatusReason"].(string); ok {
			l += ": " + r
		}
		lines = append(lines, l)
	}
	return lines
}

func (w *world) physical(stack, logical string) string {
	w.tb.Helper()
	d := w.must("DescribeStackResource", in{"StackName": stack, "LogicalResourceId": logical})["StackResourceDetail"].(map[string]any)
	s, _ := d["PhysicalResourceId"].(string)
	return s
}

// count is how many resources of a type there are.
func (w *world) count(typ string) int {
	n := 0
	for _, r := range w.a.Resources() {
		if r.Type == typ {
			n++
		}
	}
	return n
}

// edit changes a resource behind CloudFormation's back.
func (w *world) edit(typ, id string, f func(*account.Resource)) {
	w.tb.Helper()
	_ = w.a.Do(func(tx *account.Tx) error {
		r := tx.Get(typ, id)
		if r == nil {
			w.tb.Fatalf("no %s %s", typ, id)
		}
		f(r)
		return nil
	})
}

func equal[T any](tb failer, got, want T) {
	tb.Helper()
	if d := cmp.Diff(want, got); d != "" {
		tb.Errorf("-want +got:\n%s", d)
	}
}

const network = `
Parameters:
  Cidr: {Type: String, Default: 10.0.0.0/16}
  Note: {Type: String, Default: hello}
Resources:
  Vpc:
    Type: AWS::EC2::VPC
    Properties:
      CidrBlock: !Ref Cidr
  A:
    Type: AWS::EC2::Subnet
    Properties:
      VpcId: !Ref Vpc
      CidrBlock: 10.0.1.0/24
  Memo:
    Type: AWS::SSM::Parameter
    Properties:
      Name: /note
      Type: String
      Value: !Sub "${Note} from ${A}"
Outputs:
  Vpc: {Value: !Ref Vpc}
`
