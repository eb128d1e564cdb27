package cli_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
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
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/plane"
)

// house is a folder for temporary files, by which all processes that belong to a
// round are known: it is in their environment, their arguments or their folder.
type house struct {
	t   *testing.T
	dir string
	env []string // of what is started, besides its own
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
	return &house{t: t, dir: dir}
}

// start starts poolhouse in the house.
func (h *house) start(args ...string) *exec.Cmd {
	c := exec.Command("poolhouse", args...)
	c.Env = append(append(os.Environ(), "TMPDIR="+h.dir), h.env...)
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

// needServers skips a test where servers of a sandbox are missing.
func needServers(t *testing.T) {
	t.Helper()
	for v, see := range map[string]string{"POOLHOUSE_PLANE_S3": "objects", "POOLHOUSE_PLANE_REGISTRY": "images", "POOLHOUSE_POSTGRES": "databases"} {
		if os.Getenv(v) == "" {
			t.Skip(v + " is not set: see the tests of " + see)
		}
	}
}

// Ten rehearsals in a row leave no process, file, folder or shared memory behind,
// and so no port: two that end by themselves, and the others killed when they have
// said so many of all their lines as a seed says, or when a server runs that the
// seed names.
func TestKilledRehearsalsLeaveNothing(t *testing.T) {
	t.Parallel()
	needServers(t)
	h, draw := newHouse(t), rand.New(rand.NewPCG(1, 10))
	for _, name := range []string{"postgres", "oidc"} {
		program, err := plane.Program(t.Context(), name, nil)
		if err != nil {
			t.Fatal(err)
		}
		h.env = append(h.env, "POOLHOUSE_PLANE_"+strings.ToUpper(name)+"="+program)
	}
	// before is the last line before servers are started.
	const before = "a zone is lost"
	servers := []string{"poolhouse-plane-s3", "poolhouse-plane-oidc", "poolhouse-plane-postgres", "bin/postgres"}
	total := 0 // how many lines a whole one has
	for round := range 10 {
		c := h.start("rehearse", "--verbose", "../../examples/evaluation.yaml")
		out, err := c.StderrPipe()
		if err == nil {
			err = c.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		in := bufio.NewScanner(out)
		if round%9 == 0 {
			lines := 0
			for in.Scan() {
				lines++
			}
			if err := c.Wait(); err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
			if total = lines; total < 100 {
				t.Errorf("round %d said %d lines", round, lines)
			}
			h.empty(fmt.Sprintf("round %d, whole", round), nil, nil)
			continue
		}
		// Who is told to end, and how: every second one says so.
		signal := []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM}[round%2]
		way := ""
		if round%3 == 2 {
			server := servers[draw.IntN(len(servers))]
			way = "once " + server + " ran"
			for in.Scan() && !strings.Contains(in.Text(), before) {
			}
			for until := time.Now().Add(time.Minute); len(h.children(server)) == 0; time.Sleep(pause) {
				if time.Now().After(until) {
					t.Fatalf("round %d: there is no %s", round, server)
				}
			}
		} else {
			// One may say some lines fewer than another.
			lines := 1 + draw.IntN(total*9/10)
			way = fmt.Sprintf("after %d of %d lines", lines, total)
			for n := 0; n < lines && in.Scan(); n++ {
			}
		}
		seen := h.processes()
		if err := c.Process.Signal(signal); err != nil {
			t.Fatalf("round %d: it ended before it was killed %s: %v", round, way, err)
		}
		for in.Scan() {
		}
		if err := c.Wait(); err == nil {
			t.Errorf("round %d: it ended well, although it was killed %s", round, way)
		}
		h.empty(fmt.Sprintf("round %d, %s %s", round, signal, way), seen, nil)
	}
}

// Ten sandboxes with all of their servers, each killed after so many calls as a
// seed says, among them a push of an image that doesn't end, and with it or before
// it some of its servers, leave no process, port, file, folder or shared memory
// behind. What cannot be removed, since who would do it was killed as well, the
// next one removes.
func TestKilledSandboxesLeaveNothing(t *testing.T) {
	t.Parallel()
	needServers(t)
	h, draw := newHouse(t), rand.New(rand.NewPCG(2, 10))
	databases, pushes := 0, 0
	servers := []string{"poolhouse-plane-s3", "poolhouse-plane-oidc", "poolhouse-plane-registry", "poolhouse-plane-postgres"}
	for round := range 10 {
		calls := 1 + draw.IntN(16)
		victim := servers[draw.IntN(len(servers))]
		c, e := h.serve(t)
		addresses := []string{strings.TrimPrefix(e.URL, "http://"), e.DNS, strings.TrimPrefix(e.Proxy, "http://"), e.Names, e.Registry.Address}
		used := h.use(t, e, calls)
		addresses = append(addresses, used.addresses...)
		seen := h.processes()
		if len(used.addresses) > 0 {
			databases++
		}
		if used.pushes {
			pushes++
		}
		if len(h.children("poolhouse-plane-s3")) != 1 || len(h.children("poolhouse-plane-oidc")) != 1 || len(h.children("poolhouse-plane-registry")) != 1 || len(used.addresses) > 0 && len(h.children("postgres")) < 2 {
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
		used.end()
		if round%5 == 2 || round%5 == 4 {
			h.next(t)
		}
		h.empty(fmt.Sprintf("round %d, %s after %d calls", round, way, calls), seen, addresses)
	}
	if databases < 3 || pushes < 3 {
		t.Errorf("%d rounds had a database, and %d a push: the seed draws too early moments", databases, pushes)
	}
}

// next has a sandbox start and end a quarter of an hour later than it is, as one
// that removes what others couldn't.
func (h *house) next(t *testing.T) {
	t.Helper()
	for until := time.Now().Add(time.Minute); len(h.processes()) > 0 && time.Now().Before(until); {
		time.Sleep(pause)
	}
	before := time.Now().Add(-15 * time.Minute)
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
	// Registry is where images are pushed to.
	Registry struct{ Address string }
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

// used is what came of a sandbox's use.
type used struct {
	addresses []string // of a database, once it answers
	pushes    bool     // an image is on its way
	end       func()   // ends the push
}

// push begins an upload to the registry, whose part begins and doesn't end until
// end is called or the registry is gone.
func (h *house) push(t *testing.T, e houseSandbox, client *ecr.Client, repository string) (end func(), err error) {
	t.Helper()
	token, err := client.GetAuthorizationToken(t.Context(), nil)
	if err != nil {
		return nil, err
	}
	ask := func(method, path string, body io.Reader) (*http.Response, error) {
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+e.Registry.Address+path, body)
		if err != nil {
			return nil, err
		}
		req.Header.Set("Authorization", "Basic "+aws.ToString(token.AuthorizationData[0].AuthorizationToken))
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			err = resp.Body.Close()
		}
		return resp, err
	}
	begun, err := ask(http.MethodPost, "/v2/"+repository+"/blobs/uploads/", nil)
	if err != nil || begun.StatusCode != http.StatusAccepted {
		return nil, fmt.Errorf("begin an upload: %v, %w", begun, err)
	}
	read, written := io.Pipe()
	over := make(chan struct{})
	go func() {
		defer close(over)
		_, _ = ask(http.MethodPatch, begun.Header.Get("Location"), read) // it ends with the registry
		_ = read.Close()
	}()
	// Once all of it was taken, the part is on its way.
	if _, err := written.Write(make([]byte, 4<<20)); err != nil {
		return nil, fmt.Errorf("send a part: %w", err)
	}
	return func() {
		_ = written.CloseWithError(io.ErrUnexpectedEOF) // it may have ended
		<-over
	}, nil
}

// use makes so many calls: objects, a push of an image that doesn't end, and a
// database.
func (h *house) use(t *testing.T, e houseSandbox, calls int) (out used) {
	t.Helper()
	ctx := t.Context()
	cfg := aws.Config{Region: e.Region, BaseEndpoint: aws.String(e.URL), Credentials: credentials.NewStaticCredentialsProvider(sandbox.AccessKeyID, sandbox.SecretAccessKey, "")}
	out.end = func() {}
	images := ecr.NewFromConfig(cfg)
	objects, db := s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true }), rds.NewFromConfig(cfg)
	var subnets []string
	bucket := aws.String("house-123456789012")
	list := []func() error{
		func() error {
			_, err := objects.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: bucket})
			return err
		},
		func() error {
			_, err := images.CreateRepository(ctx, &ecr.CreateRepositoryInput{RepositoryName: aws.String("house")})
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
		out.addresses = append(out.addresses, address)
		return err
	}, func() (err error) {
		// The clock goes at the wall's pace for as long as the push is under way, so nothing
		// that takes AWS time comes after it.
		if !out.pushes {
			out.end, err = h.push(t, e, images, "house")
			out.pushes = err == nil
		}
		return err
	})
	for n := range calls {
		if err := list[min(n, len(list)-1)](); err != nil {
			t.Fatalf("call %d: %v", n, err)
		}
	}
	return out
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
