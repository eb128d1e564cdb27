// Package fault makes a simulated account go wrong by plan: calls that are
// throttled, refused, slow or cut off, resources that fail, capacity and quotas
// that are short, interfaces that stay, credentials that expire, and other people
// who work in the account at the same time.
//
// A [Plan] is data. [Parse] reads one from YAML and reports all that is wrong
// with it at once. An [Injector] is a plan at work on one account: it is asked at
// each call and at the start and end of each operation on a resource, and keeps
// account of what it did. What happens depends on the plan, its seed and the order
// of calls, and on nothing else.
//
// Limits: a plan breaks what its account does, not how the account stores it.
// Faults of calls match by service and operation, not by what the call asks for.
package fault

import "time"

// Plan is what goes wrong in an account.
type Plan struct {
	Faults []Fault `yaml:"faults" doc:"The faults, each with an id and exactly one kind."`
}

// Fault is one thing that goes wrong. Exactly one of its kinds is set.
type Fault struct {
	ID    string        `yaml:"id" doc:"Its name in reports: letters, digits and hyphens; no two are alike."`
	When  Moment        `yaml:"when" doc:"From when on it can happen. The default is from the start."`
	For   time.Duration `yaml:"for" doc:"For how long after that it can happen. The default is for ever."`
	Times Times         `yaml:"times" doc:"How often it happens: a number, or always. The default is once for cut, fail, call, inFlight, zone, crash, failover and full, unless for or share is given, and always for the rest."`
	Share float64       `yaml:"share" doc:"The share of calls or operations that it happens to, drawn by the seed: more than 0, at most 1. The default is 1."`

	Throttle    *Calls       `yaml:"throttle" doc:"Calls are refused because there are too many, in each service's own words."`
	Error       *Refusal     `yaml:"error" doc:"Calls are answered with an error of the service, by default an internal one."`
	Slow        *Slow        `yaml:"slow" doc:"Calls are answered late."`
	Cut         *Cut         `yaml:"cut" doc:"The connection of calls is cut, so that there is no answer."`
	Expire      *Calls       `yaml:"expire" doc:"The caller's credentials have expired, until somebody signs in again: a rehearsal does when it repeats a command."`
	Fail        *Fail        `yaml:"fail" doc:"An operation on a resource fails."`
	Capacity    *Capacity    `yaml:"capacity" doc:"EC2 is out of an instance type, which Auto Scaling and EKS report in their words."`
	Quota       *Quota       `yaml:"quota" doc:"A service quota is lower than usual."`
	Interfaces  *Interfaces  `yaml:"interfaces" doc:"Network interfaces stay when what they served is gone, and hold their subnets and security groups."`
	Propagation *Propagation `yaml:"propagation" doc:"New IAM roles take time until other services know them. Stacks wait for their own roles; roles made by API are unknown meanwhile."`
	InFlight    *InFlight    `yaml:"inFlight" doc:"Somebody else's operation is under way, and others are refused until it is over."`
	Call        *Call        `yaml:"call" doc:"Somebody else makes an API call."`
	Zone        *Zone        `yaml:"zone" doc:"An availability zone is lost, for good."`
	Crash       *Crash       `yaml:"crash" doc:"A server ends as if it was killed, and is there again when for is over, a minute by default."`
	Failover    *Failover    `yaml:"failover" doc:"The primary of a Multi-AZ database fails: connections are cut, and its standby takes over in the other zone, at another address."`
	Full        *Full        `yaml:"full" doc:"The storage of a database is used up: it is storage-full and refuses rows with PostgreSQL's error 53100, until it gets more storage or for is over."`
	Lag         *Lag         `yaml:"lag" doc:"What a server sends comes late, or slowly. Who comes in by names notices, clients of databases do with each of PostgreSQL's messages that is answered, and so does a load balancer that asks an identity provider."`
	Certificate *Certificate `yaml:"certificate" doc:"A server shows a certificate that clients refuse."`
	Targets     *Targets     `yaml:"targets" doc:"Health checks of targets fail. If all targets of a group are unhealthy, a load balancer routes to all of them."`
}

// Moment is when a fault begins; the zero value is the start.
type Moment struct {
	After    time.Duration `yaml:"after" doc:"So long after the start, or after the call or resource given here as well."`
	Call     *Nth          `yaml:"call" doc:"At the n-th call of an operation, before it is carried out."`
	Resource *Reached      `yaml:"resource" doc:"When a resource of a stack, or a stack itself, comes to a status."`
}

// Nth is the n-th call of an operation.
type Nth struct {
	Service   string `yaml:"service" doc:"The service's signing name, such as ec2 or cloudformation; a pattern."`
	Operation string `yaml:"operation" doc:"The operation; a pattern. The default is all."`
	Number    int    `yaml:"number" doc:"Which of the calls, from 1. The default is 1."`
}

// Reached is a status of a stack's resource.
type Reached struct {
	Stack    string `yaml:"stack" doc:"The stack's name; a pattern. The default is all."`
	Resource string `yaml:"resource" doc:"The logical id; a pattern. The default is all."`
	Type     string `yaml:"type" doc:"The resource type; a pattern. The default is all. AWS::CloudFormation::Stack is the stack itself."`
	Status   string `yaml:"status" doc:"The status in the stack's events, such as CREATE_IN_PROGRESS; a pattern."`
}

// Times is how often a fault happens: 0 is the default of its kind.
type Times int

// Always has no limit.
const Always Times = -1

// Calls are API calls by name.
type Calls struct {
	Service   string `yaml:"service" doc:"The service's signing name; a pattern. The default is all."`
	Operation string `yaml:"operation" doc:"The operation; a pattern. The default is all."`
}

// Refusal is an answer with an error.
type Refusal struct {
	Service   string `yaml:"service" doc:"The service's signing name; a pattern. The default is all."`
	Operation string `yaml:"operation" doc:"The operation; a pattern. The default is all."`
	Status    int    `yaml:"status" doc:"The HTTP status, from 400 to 599. The default is 500, and then code and message are the service's own."`
	Code      string `yaml:"code" doc:"The error code; with one, there is a message."`
	Message   string `yaml:"message" doc:"The error message."`
}

// Slow is a late answer.
type Slow struct {
	Service    string        `yaml:"service" doc:"The service's signing name; a pattern. The default is all."`
	Operation  string        `yaml:"operation" doc:"The operation; a pattern. The default is all."`
	By         time.Duration `yaml:"by" doc:"How late the answer is."`
	CarriedOut bool          `yaml:"carriedOut" doc:"The call is carried out first, and only its answer is late. The default is false: it waits before."`
}

// Cut is a connection without an answer.
type Cut struct {
	Service    string `yaml:"service" doc:"The service's signing name; a pattern. The default is all."`
	Operation  string `yaml:"operation" doc:"The operation; a pattern. The default is all."`
	CarriedOut bool   `yaml:"carriedOut" doc:"The call was carried out, and only its answer is lost. The default is false."`
}

// Fail is the failure of an operation on a resource.
type Fail struct {
	Stack    string   `yaml:"stack" doc:"The stack's name; a pattern. The default is all, and also what is in none."`
	Resource string   `yaml:"resource" doc:"The logical id; a pattern. The default is all."`
	Type     string   `yaml:"type" doc:"The resource type; a pattern. The default is all."`
	On       []string `yaml:"on" doc:"The operations: create, update, delete, or rollback for whatever a rollback does. The default is create."`
	Late     bool     `yaml:"late" doc:"It fails when its time is over, so that a creation leaves something behind. The default is false, but for errors of the catalogue that come late."`
	Error    string   `yaml:"error" doc:"An error of the catalogue, which is below."`
	Code     string   `yaml:"code" doc:"In place of one of the catalogue: the service's error code."`
	Message  string   `yaml:"message" doc:"The service's message."`
	Status   int      `yaml:"status" doc:"The HTTP status of the service's answer. The default is 400."`
}

// Capacity is a lack of instances.
type Capacity struct {
	InstanceType string `yaml:"instanceType" doc:"The instance type; a pattern. The default is all."`
	Zone         string `yaml:"zone" doc:"The zone's name or id; a pattern. The default is all."`
}

// Quota is a quota's value.
type Quota struct {
	Name  string `yaml:"name" doc:"Which one, of those below."`
	Value int    `yaml:"value" doc:"How many there can be."`
}

// Interfaces are network interfaces that stay.
type Interfaces struct {
	Of   string `yaml:"of" doc:"Whose: eks, rds, load-balancers, nat-gateways, endpoints, transit-gateways, or instances. The default is all."`
	Stay Stay   `yaml:"stay" doc:"For how long: a duration, during which they are in use and can't be deleted, or forever, which is detached until somebody deletes them."`
}

// Stay is how long something stays; negative is for ever.
type Stay time.Duration

// Forever has no end.
const Forever Stay = -1

// Propagation is the time that IAM takes.
type Propagation struct {
	Takes time.Duration `yaml:"takes" doc:"How long at most, up to a minute; each role draws its own time."`
}

// InFlight is an operation of somebody else. Exactly one of its fields is set.
type InFlight struct {
	Stack    string `yaml:"stack" doc:"The stack's name: somebody updates it, with one tag more."`
	Cluster  string `yaml:"cluster" doc:"The EKS cluster's name: it is being updated for as long as for says, five minutes by default."`
	Database string `yaml:"database" doc:"The RDS instance's identifier: it is being backed up for as long as for says, five minutes by default."`
}

// Call is an API call of somebody else.
type Call struct {
	Service   string         `yaml:"service" doc:"The service's signing name."`
	Operation string         `yaml:"operation" doc:"The operation."`
	Input     map[string]any `yaml:"input" doc:"Its input, member by member as in the API's reference. In texts, ${STACK/LOGICALID} is the physical id of a stack's resource, and ${STACK/LOGICALID.ATTRIBUTE} an attribute."`
	As        string         `yaml:"as" doc:"The ARN of who calls, with the rights that he has. The default is the root of the account, who may do everything."`
}

// Zone is an availability zone.
type Zone struct {
	Name string `yaml:"name" doc:"Its name or id, such as us-east-1a or use1-az1."`
}

// Crash is a server that ends unasked.
type Crash struct {
	Server   string `yaml:"server" doc:"Which: s3, whose every call is refused with 503 SlowDown meanwhile; ecr, whose registry answers, but takes no layers of images and gives none; database, which cuts its connections, recovers and tells of it by events; or provider, the identity provider, which nobody reaches, so that load balancers answer sign-ons with 500."`
	Database string `yaml:"database" doc:"Which databases, by their identifiers; a pattern. The default is all."`
}

// Failover is the failure of a primary.
type Failover struct {
	Database string `yaml:"database" doc:"Which databases, by their identifiers; a pattern. The default is all that are Multi-AZ."`
}

// Full is storage that is used up.
type Full struct {
	Server   string `yaml:"server" doc:"What is full: database, which is the default. S3 and ECR can't be: a bucket or a repository has no bound."`
	Database string `yaml:"database" doc:"Which databases, by their identifiers; a pattern. The default is all."`
}

// Lag is a slow server.
type Lag struct {
	Server   string        `yaml:"server" doc:"Which: s3, ecr, database, provider, or load-balancer."`
	Database string        `yaml:"database" doc:"Which databases, by their identifiers; a pattern. The default is all."`
	Delay    time.Duration `yaml:"delay" doc:"How late each answer begins."`
	Rate     int           `yaml:"rate" doc:"How many bytes come in a second, not for s3. The default has no bound."`
}

// Certificate is one that clients refuse.
type Certificate struct {
	Host  string `yaml:"host" doc:"Whose: the name of a load balancer, an identity provider or a database, as clients call it; a pattern. The default is all."`
	Wrong string `yaml:"wrong" doc:"What is wrong with it: expired, name (it is for another one), or authority (nobody trusts who issued it)."`
}

// Targets are those of a load balancer that are unhealthy.
type Targets struct {
	Group string `yaml:"group" doc:"The name of their target group; a pattern. The default is all."`
}
