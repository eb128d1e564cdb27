package cli_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/poolhouse/poolhouse/sandbox"
)

// house is a folder for temporary files, by which all processes that belong to a
// round are known: it is in their environment, their arguments or their folder.
type house struct {
	t   *testing.T
	dir string
}

func newHouse(t *testing.T) *house {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("processes are found by Linux's /proc")
	}
	dir, err := os.MkdirTemp("", "house")
	if err == nil {
		// The user postgres gets in, and nobody else writes to it.
		err = os.Chmod(dir, 0o711)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return &house{t, dir}
}

// start starts poolhouse in the house.
func (h *house) start(args ...string) *exec.Cmd {
	c := exec.Command("poolhouse", args...)
	c.Env = append(os.Environ(), "TMPDIR="+h.dir)
	return c
}

// processes are those of the house that run, by their ids, with their names.
func (h *house) processes() map[int]string {
	h.t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		h.t.Fatal(err)
	}
	out := map[int]string{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		at := filepath.Join("/proc", e.Name())
		cwd, _ := os.Readlink(filepath.Join(at, "cwd")) // of a process that is gone there is none
		words, _ := os.ReadFile(filepath.Join(at, "cmdline"))
		environment, _ := os.ReadFile(filepath.Join(at, "environ"))
		stat, _ := os.ReadFile(filepath.Join(at, "stat"))
		if strings.Contains(cwd, h.dir) || bytes.Contains(words, []byte(h.dir)) || bytes.Contains(environment, []byte(h.dir)) {
			if !bytes.Contains(stat, []byte(") Z ")) {
				out[pid] = strings.TrimSpace(string(bytes.ReplaceAll(words, []byte{0}, []byte(" "))))
			}
		}
	}
	return out
}

// children are the processes of a name.
func (h *house) children(name string) (pids []int) {
	for pid, words := range h.processes() {
		if first, _, _ := strings.Cut(words, " "); strings.Contains(first, name) {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids
}

// segments are the System V shared memory segments that processes have made.
func segments(t *testing.T, made map[int]string) (ids []string) {
	t.Helper()
	text, err := os.ReadFile("/proc/sysvipc/shm")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(text), "\n")[1:] {
		if f := strings.Fields(line); len(f) > 4 {
			if pid, err := strconv.Atoi(f[4]); err == nil && made[pid] != "" {
				ids = append(ids, f[1])
			}
		}
	}
	return ids
}

// pause is how long who waits for processes leaves them the machine.
const pause = 50 * time.Millisecond

// empty waits until nobody and nothing is left in the house: no process, nobody
// at the addresses, no file, no shared memory of who was there.
func (h *house) empty(round string, seen map[int]string, addresses []string) {
	h.t.Helper()
	var left []string
	for until := time.Now().Add(time.Minute); ; time.Sleep(pause) {
		left = nil
		for pid, words := range h.processes() {
			left = append(left, fmt.Sprintf("process %d (%s)", pid, words))
		}
		for _, a := range addresses {
			if c, err := net.Dial("tcp", a); err == nil {
				_ = c.Close()
				left = append(left, "somebody at "+a)
			}
		}
		files, err := os.ReadDir(h.dir)
		if err != nil {
			h.t.Fatal(err)
		}
		for _, f := range files {
			left = append(left, f.Name())
		}
		for _, id := range segments(h.t, seen) {
			left = append(left, "shared memory "+id)
		}
		if len(left) == 0 {
			return
		}
		if time.Now().After(until) {
			h.t.Fatalf("%s: left behind: %s", round, strings.Join(left, ", "))
		}
	}
}

// Ten rehearsals, each killed when it has said so many of its first lines as a
// seed says, leave no process, port, file or folder behind. That is before the
// step data, which starts servers.
func TestKilledRehearsalsLeaveNothing(t *testing.T) {
	t.Parallel()
	h, draw := newHouse(t), rand.New(rand.NewPCG(1, 10))
	for round := range 10 {
		signal := []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM}[round%2]
		lines := 1 + draw.IntN(60)
		c := h.start("rehearse", "--verbose", "--speed", "600", "../../examples/evaluation.yaml")
		out, err := c.StderrPipe()
		if err == nil {
			err = c.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		in := bufio.NewScanner(out)
		for n := 0; n < lines && in.Scan(); n++ {
		}
		seen := h.processes()
		if err := c.Process.Signal(signal); err != nil {
			t.Fatalf("round %d: it ended before line %d: %v", round, lines, err)
		}
		for in.Scan() {
		}
		_ = c.Wait() // it was killed
		h.empty(fmt.Sprintf("round %d, %s after %d lines", round, signal, lines), seen, nil)
	}
}

// Ten sandboxes with their servers but the registry of images, each killed after so many calls as a
// seed says, and with it or before it some of its servers, leave no process,
// port, file, folder or shared memory behind. What cannot be removed, since who
// would do it was killed as well, the next one removes.
func TestKilledSandboxesLeaveNothing(t *testing.T) {
	t.Parallel()
	for _, v := range []string{"POOLHOUSE_PLANE_S3", "POOLHOUSE_POSTGRES"} {
		if os.Getenv(v) == "" {
			t.Skip(v + " is not set: see the tests of objects and of databases")
		}
	}
	h, draw := newHouse(t), rand.New(rand.NewPCG(2, 10))
	databases := 0
	servers := []string{"poolhouse-plane-s3", "poolhouse-plane-oidc", "poolhouse-plane-postgres"}
	for round := range 10 {
		calls := 1 + draw.IntN(14)
		victim := servers[draw.IntN(len(servers))]
		c, e := h.serve(t)
		addresses := []string{strings.TrimPrefix(e.URL, "http://"), e.DNS, strings.TrimPrefix(e.Proxy, "http://"), e.Names}
		addresses = append(addresses, h.use(t, e, calls)...)
		seen := h.processes()
		if len(addresses) > 4 {
			databases++
		}
		if len(h.children("poolhouse-plane-s3")) != 1 || len(h.children("poolhouse-plane-oidc")) != 1 || len(addresses) > 4 && len(h.children("postgres")) < 2 {
			t.Fatalf("round %d: not all servers run, or they aren't found: %v", round, seen)
		}
		kill := func(signal syscall.Signal, pids ...int) {
			for _, pid := range pids {
				if err := syscall.Kill(pid, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
					t.Fatal(err)
				}
			}
		}
		way := ""
		switch round % 5 {
		case 0:
			way = "asked to end"
			kill(syscall.SIGTERM, c.Process.Pid)
		case 1:
			way = "killed"
			kill(syscall.SIGKILL, c.Process.Pid)
		case 2:
			way = "killed after " + victim
			kill(syscall.SIGKILL, h.children(victim)...)
			kill(syscall.SIGKILL, c.Process.Pid)
		case 3:
			way = "asked to end with all servers"
			for _, s := range servers {
				kill(syscall.SIGTERM, h.children(s)...)
			}
			kill(syscall.SIGTERM, c.Process.Pid)
		default:
			way = "killed with all servers"
			kill(syscall.SIGSTOP, c.Process.Pid) // it starts none again
			for _, s := range servers {
				kill(syscall.SIGKILL, h.children(s)...)
			}
			kill(syscall.SIGKILL, c.Process.Pid)
		}
		_ = c.Wait() // it was killed
		if round%5 == 2 || round%5 == 4 {
			h.next(t)
		}
		h.empty(fmt.Sprintf("round %d, %s after %d calls", round, way, calls), seen, addresses)
	}
	if databases < 3 {
		t.Errorf("%d rounds had a database: the seed draws too early moments", databases)
	}
}

// next has a sandbox start and end a minute later than it is, as one that removes
// what others couldn't.
func (h *house) next(t *testing.T) {
	t.Helper()
	for until := time.Now().Add(time.Minute); len(h.processes()) > 0 && time.Now().Before(until); {
		time.Sleep(pause)
	}
	before := time.Now().Add(-2 * time.Minute)
	files, err := filepath.Glob(filepath.Join(h.dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if err := os.Chtimes(f, before, before); err != nil {
			t.Fatal(err)
		}
	}
	c, _ := h.serve(t)
	if err := c.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_ = c.Wait() // it was asked to
}

// houseSandbox is what a sandbox in the house says of itself.
type houseSandbox struct {
	URL    string `json:"endpoint"`
	Region string
	DNS    string
	Proxy  string
	Names  string
}

// serve starts a sandbox with all of its servers.
func (h *house) serve(t *testing.T) (*exec.Cmd, houseSandbox) {
	t.Helper()
	c := h.start("sandbox", "--for", "../../examples/evaluation.yaml", "--listen", "127.0.0.1:0", "--speed", "20000", "--output", "json")
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Process.Kill() })
	var e houseSandbox
	if err := json.NewDecoder(out).Decode(&e); err != nil {
		t.Fatalf("%v\n%s", err, &stderr)
	}
	return c, e
}

// use makes so many calls: objects, and a database, whose address it returns once
// that answers.
func (h *house) use(t *testing.T, e houseSandbox, calls int) (addresses []string) {
	t.Helper()
	ctx := t.Context()
	cfg := aws.Config{Region: e.Region, BaseEndpoint: aws.String(e.URL), Credentials: credentials.NewStaticCredentialsProvider(sandbox.AccessKeyID, sandbox.SecretAccessKey, "")}
	objects, db := s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true }), rds.NewFromConfig(cfg)
	var subnets []string
	bucket := aws.String("house-123456789012")
	list := []func() error{
		func() error {
			_, err := objects.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: bucket})
			return err
		},
		func() error {
			vpc, err := ec2.NewFromConfig(cfg).CreateVpc(ctx, &ec2.CreateVpcInput{CidrBlock: aws.String("10.77.0.0/16")})
			for i := range 2 {
				if err == nil {
					var s *ec2.CreateSubnetOutput
					s, err = ec2.NewFromConfig(cfg).CreateSubnet(ctx, &ec2.CreateSubnetInput{VpcId: vpc.Vpc.VpcId, CidrBlock: aws.String(fmt.Sprintf("10.77.%d.0/24", i)), AvailabilityZone: aws.String(e.Region + string(rune('a'+i)))})
					if err == nil {
						subnets = append(subnets, *s.Subnet.SubnetId)
					}
				}
			}
			return err
		},
		func() error {
			_, err := db.CreateDBSubnetGroup(ctx, &rds.CreateDBSubnetGroupInput{DBSubnetGroupName: aws.String("g"), DBSubnetGroupDescription: aws.String("d"), SubnetIds: subnets})
			return err
		},
		func() error {
			_, err := db.CreateDBInstance(ctx, &rds.CreateDBInstanceInput{
				DBInstanceIdentifier: aws.String("house"), Engine: aws.String("postgres"), DBInstanceClass: aws.String("db.m7g.large"), AllocatedStorage: aws.Int32(20),
				DBSubnetGroupName: aws.String("g"), MasterUsername: aws.String("owner"), ManageMasterUserPassword: aws.Bool(true),
			})
			return err
		},
	}
	for range 3 {
		list = append(list, func() error {
			_, err := objects.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: bucket, Body: bytes.NewReader(make([]byte, 1<<20))})
			return err
		})
	}
	list = append(list, func() error {
		address, err := h.database(t, e, db)
		addresses = append(addresses, address)
		return err
	})
	for n := range calls {
		if err := list[min(n, len(list)-1)](); err != nil {
			t.Fatalf("call %d: %v", n, err)
		}
	}
	return addresses
}

// database waits until the database answers, and returns where.
func (h *house) database(t *testing.T, e houseSandbox, db *rds.Client) (string, error) {
	names := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, e.DNS)
	}}
	for until := time.Now().Add(2 * time.Minute); ; time.Sleep(pause) {
		out, err := db.DescribeDBInstances(t.Context(), &rds.DescribeDBInstancesInput{})
		if err != nil {
			return "", err
		}
		if at := out.DBInstances[0].Endpoint; at != nil {
			found, err := names.LookupHost(t.Context(), *at.Address+".")
			if err == nil {
				address := net.JoinHostPort(found[0], fmt.Sprint(*at.Port))
				var c net.Conn
				if c, err = net.Dial("tcp", address); err == nil {
					return address, c.Close()
				}
			}
		}
		if time.Now().After(until) {
			return "", fmt.Errorf("the database is %s, and doesn't answer", aws.ToString(out.DBInstances[0].DBInstanceStatus))
		}
	}
}
