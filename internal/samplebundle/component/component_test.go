package component_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/jackc/pgx/v5"

	"github.com/poolhouse/poolhouse/internal/samplebundle/component"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/front"
	"github.com/poolhouse/poolhouse/sandbox/kms"
	"github.com/poolhouse/poolhouse/sandbox/plane"
	"github.com/poolhouse/poolhouse/sandbox/rds/rows"
)

type object = map[string]any

// world is an account with what a platform stands on, databases apart.
type world struct {
	t       *testing.T
	box     *sandbox.Sandbox
	secrets string
	log     bytes.Buffer
	env     map[string]string

	mu  sync.Mutex
	now time.Time
}

func (w *world) time() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, secrets: t.TempDir(), now: time.Now()}
	w.box = testkit.Sandbox(t, sandbox.Options{Now: w.time})
	storage := testkit.MustCreate(t, w.box, "AWS::KMS::Key", object{})
	for _, name := range []string{"models-1", "code-docs-1", "audit-1", "telemetry-1"} {
		testkit.MustCreate(t, w.box, "AWS::S3::Bucket", object{"BucketName": name, "BucketEncryption": object{"ServerSideEncryptionConfiguration": []any{
			object{"ServerSideEncryptionByDefault": object{"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": kms.ARN(storage)}},
		}}})
	}
	w.env = map[string]string{
		"MODELS_BUCKET": "models-1", "CODE_DOCS_BUCKET": "code-docs-1", "AUDIT_BUCKET": "audit-1", "TELEMETRY_BUCKET": "telemetry-1",
		"STORAGE_KEY_ARN": kms.ARN(storage), "APPLICATION_KEY_ARN": kms.ARN(testkit.MustCreate(t, w.box, "AWS::KMS::Key", object{})),
		"POD_NAME": "pod-1",
	}
	return w
}

func (w *world) options(role string) component.Options {
	return component.Options{Role: role, Env: func(name string) string { return w.env[name] }, Secrets: w.secrets, AWS: testkit.Config(w.box), Now: w.time, Log: &w.log}
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// serve is a component that listens.
func (w *world) serve(role string) *httptest.Server {
	w.t.Helper()
	h, err := component.New(w.options(role))
	w.must(err)
	s := httptest.NewTLSServer(h)
	w.t.Cleanup(s.Close)
	return s
}

func (w *world) ask(s *httptest.Server, method, path, body string) (int, string) {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), method, s.URL+path, strings.NewReader(body))
	w.must(err)
	res, err := s.Client().Do(r)
	w.must(err)
	defer res.Body.Close()
	var b bytes.Buffer
	_, err = b.ReadFrom(res.Body)
	w.must(err)
	return res.StatusCode, b.String()
}

// report is what a component says, and which checks don't hold.
func (w *world) report(s *httptest.Server) (r component.Report, code int, failed []string) {
	w.t.Helper()
	code, text := w.ask(s, http.MethodGet, "/report", "")
	w.must(json.Unmarshal([]byte(text), &r))
	for _, c := range r.Checks {
		if !c.OK {
			failed = append(failed, c.Check+": "+c.Says)
		}
	}
	return r, code, failed
}

func says(t *testing.T, r component.Report, check string) string {
	t.Helper()
	i := slices.IndexFunc(r.Checks, func(c component.Result) bool { return c.Check == check })
	if i < 0 {
		t.Fatalf("no check %s in %+v", check, r)
	}
	return r.Checks[i].Says
}

func wants(t *testing.T, got, want string) {
	t.Helper()
	if !strings.Contains(got, want) {
		t.Errorf("no %q in %q", want, got)
	}
}

// Without a database a core API is not ready, and says what it reaches and what not.
func TestCoreAPIWithoutDatabase(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.serve(component.CoreAPI)
	r, code, failed := w.report(s)
	if code != http.StatusServiceUnavailable || r.OK || len(failed) != 3 {
		t.Errorf("%d, ok %t, %q", code, r.OK, failed)
	}
	wants(t, says(t, r, "database"), "read the application's account: ")
	wants(t, says(t, r, "identity"), ":assumed-role/Administrator/")
	wants(t, says(t, r, "bucket of audit"), "an object was written and read in audit-1, encrypted by "+w.env["STORAGE_KEY_ARN"])
	wants(t, says(t, r, "application key"), "encrypted and decrypted by "+w.env["APPLICATION_KEY_ARN"])
	wants(t, says(t, r, "checkpoint"), "none is in models-1")
	if code, _ := w.ask(s, http.MethodGet, "/readyz", ""); code != http.StatusServiceUnavailable {
		t.Errorf("ready: %d", code)
	}
	if code, _ := w.ask(s, http.MethodGet, "/healthz", ""); code != http.StatusOK {
		t.Errorf("healthy: %d", code)
	}
	wants(t, w.log.String(), "database: read the application's account")

	// It writes once in its life, however often it is asked.
	w.pass(time.Minute)
	w.report(s)
	objects := s3.NewFromConfig(testkit.Config(w.box), func(o *s3.Options) { o.UsePathStyle = true })
	out, err := objects.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: aws.String("audit-1")})
	w.must(err)
	if len(out.Contents) != 1 {
		t.Errorf("%d objects in the bucket of audit", len(out.Contents))
	}

	// Another key than the storage's is found.
	w.env["STORAGE_KEY_ARN"] += "0"
	w.pass(time.Minute)
	r, _, _ = w.report(s)
	wants(t, says(t, r, "bucket of telemetry"), "not by "+w.env["STORAGE_KEY_ARN"])

	// What the chart doesn't set is named.
	delete(w.env, "AUDIT_BUCKET")
	w.pass(time.Minute)
	r, _, _ = w.report(s)
	wants(t, says(t, r, "bucket of audit"), "AUDIT_BUCKET: not set")
}

func TestCheckpoint(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.env["CHECKPOINT"] = "sample-1.0"
	s := w.serve(component.Inference)
	r, code, _ := w.report(s)
	wants(t, says(t, r, "checkpoint"), "sample-1.0 is not complete in models-1: ")
	if code != http.StatusOK {
		t.Errorf("a model server without checkpoint: %d", code)
	}
	_, err := s3.NewFromConfig(testkit.Config(w.box), func(o *s3.Options) { o.UsePathStyle = true }).PutObject(t.Context(), &s3.PutObjectInput{
		Bucket: aws.String("models-1"), Key: aws.String("models/checkpoints/sample-1.0/.checkpoint-complete"),
	})
	w.must(err)
	w.pass(time.Minute)
	r, _, failed := w.report(s)
	wants(t, says(t, r, "checkpoint"), "sample-1.0 is complete in models-1 since ")
	if failed != nil {
		t.Error(failed)
	}
}

// A chat goes from the interface over the core API to the model server, which says that
// it is none; telemetry of all is in the bucket.
func TestWayThrough(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	model, collector := w.serve(component.Inference), w.serve(component.TelemetryCollector)
	w.env["TELEMETRY_URL"], w.env["INFERENCE_URL"] = collector.URL, model.URL
	core := w.serve(component.CoreAPI)
	w.env["CORE_API_URL"] = core.URL
	s := w.serve(component.Interface)
	code, text := w.ask(s, http.MethodPost, "/v1/chat/completions", `{"model": "sample", "messages": [{"role": "user", "content": "hello"}]}`)
	if code != http.StatusOK {
		t.Fatal(code, text)
	}
	var chat struct {
		Model   string
		Choices []struct{ Message struct{ Content string } }
	}
	w.must(json.Unmarshal([]byte(text), &chat))
	if chat.Model != "sample" || len(chat.Choices) != 1 || chat.Choices[0].Message.Content != "sample: hello" {
		t.Errorf("got %s", text)
	}
	r, code, failed := w.report(s)
	if code != http.StatusOK || failed != nil {
		t.Errorf("%d %q", code, failed)
	}
	wants(t, says(t, r, "core API"), "its certificate is of its own making and not verified")
	code, text = w.ask(s, http.MethodGet, "/core/report", "")
	wants(t, text, `"component":"core-api"`)
	if code != http.StatusServiceUnavailable { // it has no database
		t.Errorf("%d %s", code, text)
	}
	r, _, _ = w.report(collector)
	wants(t, says(t, r, "bucket of telemetry"), "an object was written in telemetry-1")
	// Reports that are asked for again write nothing.
	for range 3 {
		w.pass(time.Minute)
		r, _, _ = w.report(s)
		wants(t, says(t, r, "telemetry"), "a record was taken by "+collector.URL)
	}
	out, err := s3.NewFromConfig(testkit.Config(w.box), func(o *s3.Options) { o.UsePathStyle = true }).ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: aws.String("telemetry-1"), Prefix: aws.String("otlp/logs/")})
	w.must(err)
	if len(out.Contents) != 2 {
		t.Errorf("%d records of telemetry, want one of the interface and one of the core API", len(out.Contents))
	}

	for name, tt := range map[string]struct {
		s          *httptest.Server
		path, body string
		code       int
		says       string
	}{
		"no JSON":      {s: model, path: "/v1/chat/completions", body: "{", code: http.StatusBadRequest, says: "no JSON"},
		"no messages":  {s: model, path: "/v1/chat/completions", body: "{}", code: http.StatusBadRequest, says: "messages is a list"},
		"stream":       {s: model, path: "/v1/chat/completions", body: `{"stream": true, "messages": [{}]}`, code: http.StatusBadRequest, says: "does not stream"},
		"too long":     {s: collector, path: "/v1/logs", body: `"` + strings.Repeat("x", 5<<20) + `"`, code: http.StatusRequestEntityTooLarge, says: "more than"},
		"no telemetry": {s: collector, path: "/v1/logs", body: "resource", code: http.StatusBadRequest, says: "no JSON"},
	} {
		if code, text := w.ask(tt.s, http.MethodPost, tt.path, tt.body); code != tt.code || !strings.Contains(text, tt.says) {
			t.Errorf("%s: %d %s", name, code, text)
		}
	}
}

// Ways in say what they lack, and where nothing is configured nothing is forwarded.
func TestEntrances(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	file := filepath.Join(w.secrets, "sign-on-web", "client_secret")
	w.env["SIGN_ON_SECRET"] = file
	s := w.serve(component.WebAssistant)
	r, code, _ := w.report(s)
	if code != http.StatusServiceUnavailable {
		t.Errorf("got %d", code)
	}
	wants(t, says(t, r, "sign-on client"), "no such file")
	wants(t, says(t, r, "core API"), "CORE_API_URL is not set")
	w.must(os.MkdirAll(filepath.Dir(file), 0o700))
	w.must(os.WriteFile(file, []byte("very-secret"), 0o600))
	w.pass(time.Minute)
	r, _, _ = w.report(s)
	wants(t, says(t, r, "sign-on client"), "is at sign-on-web")
	text, err := json.Marshal(r)
	w.must(err)
	if strings.Contains(string(text)+w.log.String(), "very-secret") {
		t.Errorf("the secret is told: %s", text)
	}
	if code, text := w.ask(s, http.MethodGet, "/v1/models", ""); code != http.StatusServiceUnavailable || !strings.Contains(text, "no core API") {
		t.Errorf("%d %s", code, text)
	}
	if _, err := component.New(w.options("none")); err == nil || !strings.Contains(err.Error(), "core-api, interface") {
		t.Errorf("got %v", err)
	}
}

// database brings a server behind an instance, as a deployment has it, and the secret of
// the application. It takes PostgreSQL's programs.
type database struct {
	*world
	rows      *rows.Databases
	authority *front.Authority
	master    string
}

func newDatabase(t *testing.T) *database {
	t.Helper()
	if os.Getenv("POOLHOUSE_POSTGRES") == "" {
		t.Skip("POOLHOUSE_POSTGRES names no folder of PostgreSQL's programs: apt-get install postgresql, then POOLHOUSE_POSTGRES=/usr/lib/postgresql/15/bin")
	}
	program, err := plane.Program(t.Context(), "postgres", nil)
	if err != nil {
		t.Fatal(err)
	}
	d := &database{world: newWorld(t)}
	d.authority, err = front.NewAuthority(time.Now)
	d.must(err)
	vpc := testkit.MustCreate(t, d.box, "AWS::EC2::VPC", object{"CidrBlock": "10.0.0.0/16"})
	var subnets []any
	for i, z := range []string{"us-east-1a", "us-east-1b"} {
		subnets = append(subnets, testkit.MustCreate(t, d.box, "AWS::EC2::Subnet", object{"VpcId": vpc.ID, "CidrBlock": fmt.Sprintf("10.0.%d.0/24", i), "AvailabilityZone": z}).ID)
	}
	testkit.MustCreate(t, d.box, "AWS::RDS::DBSubnetGroup", object{"DBSubnetGroupName": "g", "DBSubnetGroupDescription": "d", "SubnetIds": subnets})
	c := rds.NewFromConfig(testkit.Config(d.box))
	_, err = c.CreateDBInstance(t.Context(), &rds.CreateDBInstanceInput{
		DBInstanceIdentifier: aws.String("db"), Engine: aws.String("postgres"), EngineVersion: aws.String("17"), DBInstanceClass: aws.String("db.m7g.large"), AllocatedStorage: aws.Int32(20),
		DBSubnetGroupName: aws.String("g"), MasterUsername: aws.String("owner"), ManageMasterUserPassword: aws.Bool(true), DBName: aws.String("poolside"),
	})
	d.must(err)
	d.rows, err = rows.Run(t.Context(), d.box.Account(), rows.Options{
		Program: func(context.Context) (string, error) { return program, nil },
		Report:  func(err error) { t.Error(err) },
		Certificate: func(name string) (cert, key []byte, err error) {
			issued, err := d.authority.Certificate(name)
			if err != nil {
				return nil, nil, err
			}
			for _, der := range issued.Certificate {
				cert = append(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
			}
			der, err := x509.MarshalPKCS8PrivateKey(issued.PrivateKey)
			return cert, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), err
		},
	})
	d.must(err)
	t.Cleanup(func() {
		if err := d.rows.Close(); err != nil {
			t.Error(err)
		}
	})
	d.pass(time.Hour)
	out, err := c.DescribeDBInstances(t.Context(), &rds.DescribeDBInstancesInput{})
	d.must(err)
	i := out.DBInstances[0]
	app, err := secretsmanager.NewFromConfig(testkit.Config(d.box)).CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{Name: aws.String("app"), SecretString: aws.String(`{"dbname": "poolside", "username": "poolside_app", "password": "firstPassword1"}`)})
	d.must(err)
	d.master = *i.MasterUserSecret.SecretArn
	for name, v := range map[string]string{
		"DATABASE_HOST": *i.Endpoint.Address, "DATABASE_PORT": "5432", "DATABASE_NAME": "poolside",
		"MASTER_SECRET_ARN": d.master, "APPLICATION_SECRET_ARN": *app.ARN,
	} {
		d.env[name] = v
	}
	return d
}

func (d *database) options(role string) component.Options {
	o := d.world.options(role)
	o.Roots = d.authority.Pool()
	o.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort(d.rows.Address(host).String(), port))
	}
	return o
}

// setup wants the job to succeed within a minute: the server follows some tenths of a
// second behind the account.
func (d *database) setup(what string) {
	d.t.Helper()
	var err error
	for until := time.Now().Add(time.Minute); time.Now().Before(until); {
		if err = component.Run(d.t.Context(), d.options(component.DatabaseSetup)); err == nil {
			return
		}
	}
	d.t.Fatalf("%s: %v", what, err)
}

func (d *database) secret(id string) (content struct{ Username, Password string }) {
	d.t.Helper()
	out, err := secretsmanager.NewFromConfig(testkit.Config(d.box)).GetSecretValue(d.t.Context(), &secretsmanager.GetSecretValueInput{SecretId: &id})
	d.must(err)
	d.must(json.Unmarshal([]byte(*out.SecretString), &content))
	return content
}

// The application gets its role by the master's secret, and it again after a rotation of
// the master's, with another password of its own, and in a database that has lost it, as
// one that is restored from before; the core API writes and reads by it, over TLS with
// the certificate verified.
func TestDatabase(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	brought := func(password string) {
		t.Helper()
		dir := filepath.Join(d.secrets, "database")
		d.must(os.MkdirAll(dir, 0o700))
		for k, v := range map[string]string{"dbname": "poolside", "username": "poolside_app", "password": password} {
			d.must(os.WriteFile(filepath.Join(dir, k), []byte(v), 0o600))
		}
	}
	brought("firstPassword1")
	h, err := component.New(d.options(component.CoreAPI))
	d.must(err)
	s := httptest.NewTLSServer(h)
	t.Cleanup(s.Close)
	look := func() (component.Report, int) {
		t.Helper()
		d.pass(time.Minute)
		r, code, _ := d.report(s)
		return r, code
	}
	d.setup("first")
	wants(t, d.log.String(), "poolside_app can log in to poolside with the password of its secret (CREATE ROLE)")
	r, code := look()
	if code != http.StatusOK {
		t.Errorf("got %+v", r)
	}
	wants(t, says(t, r, "database"), "a row was written and read in poolside at "+d.env["DATABASE_HOST"]+" as poolside_app, over TLSv1.3 with the certificate verified")

	first := d.secret(d.master)
	_, err = secretsmanager.NewFromConfig(testkit.Config(d.box)).RotateSecret(t.Context(), &secretsmanager.RotateSecretInput{SecretId: &d.master})
	d.must(err)
	d.pass(time.Minute)
	if second := d.secret(d.master); second == first {
		t.Fatal("the master's password stays")
	}
	d.setup("after a rotation")
	wants(t, d.log.String(), "(ALTER ROLE)")
	if r, code := look(); code != http.StatusOK {
		t.Errorf("after a rotation: %+v", r)
	}

	_, err = secretsmanager.NewFromConfig(testkit.Config(d.box)).PutSecretValue(t.Context(), &secretsmanager.PutSecretValueInput{SecretId: aws.String("app"), SecretString: aws.String(`{"dbname": "poolside", "username": "poolside_app", "password": "secondPassword2"}`)})
	d.must(err)
	d.setup("with another password")
	r, code = look()
	wants(t, says(t, r, "database"), "password authentication failed")
	if code != http.StatusServiceUnavailable {
		t.Errorf("with the former password: %+v", r)
	}
	brought("secondPassword2")
	if r, code := look(); code != http.StatusOK {
		t.Errorf("with another password: %+v", r)
	}

	// A database of before the role: what a restore may bring.
	d.forget()
	if r, code := look(); code != http.StatusServiceUnavailable {
		t.Errorf("without the role: %+v", r)
	}
	d.setup("after a restore")
	if r, code := look(); code != http.StatusOK {
		t.Errorf("after a restore: %+v", r)
	}

	// A server with the certificate of another authority is not believed.
	other, err := front.NewAuthority(time.Now)
	d.must(err)
	o := d.options(component.DatabaseSetup)
	o.Roots = other.Pool()
	if err := component.Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "certificate signed by unknown authority") {
		t.Errorf("another authority: %v", err)
	}
	o = d.options(component.DatabaseSetup)
	host := d.env["DATABASE_HOST"]
	o.Env = func(name string) string {
		if name == "DATABASE_HOST" {
			return "other." + host
		}
		return d.env[name]
	}
	o.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort(d.rows.Address(host).String(), "5432"))
	}
	if err := component.Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "certificate is valid for") {
		t.Errorf("another name: %v", err)
	}

	text, err := json.Marshal(r)
	d.must(err)
	for _, secret := range []string{"firstPassword1", "secondPassword2", d.secret(d.master).Password} {
		if strings.Contains(string(text)+d.log.String(), secret) {
			t.Errorf("a password is told")
		}
	}
}

// forget takes the application's role away, as the master.
func (d *database) forget() {
	d.t.Helper()
	ctx := d.t.Context()
	c, err := pgx.ParseConfig("host=localhost user=none sslmode=require")
	d.must(err)
	m := d.secret(d.master)
	c.Host, c.Database, c.User, c.Password = d.rows.Address(d.env["DATABASE_HOST"]).String(), "poolside", m.Username, m.Password
	c.Port = 5432
	conn, err := pgx.ConnectConfig(ctx, c)
	d.must(err)
	defer func() { d.must(conn.Close(ctx)) }()
	_, err = conn.Exec(ctx, "GRANT poolside_app TO CURRENT_USER; DROP OWNED BY poolside_app; DROP ROLE poolside_app")
	d.must(err)
}

// What is wrong with secrets is said without what they hold.
func TestSetupRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := secretsmanager.NewFromConfig(testkit.Config(w.box))
	put := func(name, text string) string {
		out, err := c.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{Name: &name, SecretString: &text})
		w.must(err)
		return *out.ARN
	}
	good := put("good", `{"username": "owner", "password": "hidden"}`)
	for name, tt := range map[string]struct{ master, app, want string }{
		"nothing set":   {"", "", "MASTER_SECRET_ARN, APPLICATION_SECRET_ARN: not set"},
		"no JSON":       {good, put("text", "hidden"), "holds no username and password as JSON"},
		"no password":   {good, put("half", `{"username": "hidden"}`), "holds no username and password as JSON"},
		"the master":    {good, put("same", `{"username": "owner", "password": "hidden"}`), "is the server's master"},
		"not ASCII":     {good, put("umlaut", `{"username": "app", "password": "hiddenß"}`), "other than printable ASCII"},
		"there is none": {good + "x", good, "ResourceNotFoundException"},
		"no host":       {good, put("fine", `{"username": "app", "password": "hidden"}`), "DATABASE_HOST, DATABASE_PORT: not set"},
	} {
		w.env["MASTER_SECRET_ARN"], w.env["APPLICATION_SECRET_ARN"], w.env["DATABASE_NAME"] = tt.master, tt.app, "poolside"
		err := component.Run(t.Context(), w.options(component.DatabaseSetup))
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%s: got %v, want %s", name, err, tt.want)
		}
	}
}

// A component serves until it shall end.
func TestRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.env["ADDRESS"] = "127.0.0.1:0"
	ctx, end := context.WithCancel(t.Context())
	r, out := net.Pipe()
	o := w.options(component.TelemetryCollector)
	o.Log = out
	ended := make(chan error, 1)
	go func() { ended <- component.Run(ctx, o) }()
	line := make([]byte, 200)
	n, err := r.Read(line)
	w.must(err)
	go func() { _, _ = new(bytes.Buffer).ReadFrom(r) }()
	_, at, _ := strings.Cut(strings.TrimSpace(string(line[:n])), "answers on ")
	s := &httptest.Server{URL: "https://" + at}
	client := httptest.NewTLSServer(nil)
	t.Cleanup(client.Close)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/readyz", http.NoBody)
	w.must(err)
	if _, err := client.Client().Do(req); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a certificate of its own making is believed: %v", err)
	}
	end()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
