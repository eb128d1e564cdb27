package cli_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// cdkApp is a shop as people write one with the CDK: most of its resources are
// the library's own choice.
const cdkApp = `
const cdk = require('aws-cdk-lib');
const ec2 = require('aws-cdk-lib/aws-ec2');
const elb = require('aws-cdk-lib/aws-elasticloadbalancingv2');
const iam = require('aws-cdk-lib/aws-iam');
const kms = require('aws-cdk-lib/aws-kms');
const logs = require('aws-cdk-lib/aws-logs');
const rds = require('aws-cdk-lib/aws-rds');
const s3 = require('aws-cdk-lib/aws-s3');
const ssm = require('aws-cdk-lib/aws-ssm');

const app = new cdk.App();
const shop = new cdk.Stack(app, 'shop', { env: { account: process.env.CDK_DEFAULT_ACCOUNT, region: process.env.CDK_DEFAULT_REGION } });
const vpc = new ec2.Vpc(shop, 'Streets', { maxAzs: 2, natGateways: 1 });
vpc.addGatewayEndpoint('Warehouse', { service: ec2.GatewayVpcEndpointAwsService.S3 });
vpc.addInterfaceEndpoint('Safe', { service: ec2.InterfaceVpcEndpointAwsService.SECRETS_MANAGER });
const key = new kms.Key(shop, 'Key', { enableKeyRotation: true, alias: 'shop', removalPolicy: cdk.RemovalPolicy.DESTROY });
const goods = new s3.Bucket(shop, 'Goods', {
  encryption: s3.BucketEncryption.KMS, encryptionKey: key, bucketKeyEnabled: true, enforceSSL: true, versioned: true,
  blockPublicAccess: s3.BlockPublicAccess.BLOCK_ALL, removalPolicy: cdk.RemovalPolicy.DESTROY,
});
const clerk = new iam.Role(shop, 'Clerk', { assumedBy: new iam.ServicePrincipal('ec2.amazonaws.com') });
goods.grantReadWrite(clerk);
new logs.LogGroup(shop, 'Till', { retention: logs.RetentionDays.ONE_WEEK, removalPolicy: cdk.RemovalPolicy.DESTROY });
const front = new elb.ApplicationLoadBalancer(shop, 'Front', { vpc, internetFacing: true });
front.addListener('Door', { port: 80, open: true, defaultAction: elb.ListenerAction.fixedResponse(200, { contentType: 'text/plain', messageBody: 'open' }) });
const books = new rds.DatabaseInstance(shop, 'Books', {
  engine: rds.DatabaseInstanceEngine.POSTGRES, vpc, storageEncrypted: true, storageEncryptionKey: key,
  instanceType: ec2.InstanceType.of(ec2.InstanceClass.M7G, ec2.InstanceSize.LARGE),
  credentials: rds.Credentials.fromUsername('keeper'), removalPolicy: cdk.RemovalPolicy.DESTROY, deletionProtection: false,
});
books.connections.allowDefaultPortFrom(front);
new ssm.StringParameter(shop, 'Motto', { parameterName: '/shop/motto', stringValue: app.node.tryGetContext('motto') || 'open all hours' });
new cdk.CfnOutput(shop, 'Address', { value: front.loadBalancerDnsName });
`

// TestCDK takes an app's stacks through their life with the CDK's own program:
// the stack that it keeps its assets in, a deployment, differences, another
// deployment, drift, and the end. Templates that don't fit a request go through
// the bucket.
//
// https://docs.aws.amazon.com/cdk/v2/guide/bootstrapping.html
func TestCDK(t *testing.T) {
	t.Parallel()
	modules := os.Getenv("POOLHOUSE_NODE_MODULES")
	if modules == "" {
		t.Skip("POOLHOUSE_NODE_MODULES names no folder with npm's aws-cdk and aws-cdk-lib: npm install aws-cdk@2.1148.1 aws-cdk-lib@2.276.0 constructs, then POOLHOUSE_NODE_MODULES=$PWD/node_modules")
	}
	e, env := serveSandbox(t, "--without", "s3,ecr")
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "app.js"), []byte(cdkApp), 0o644); err != nil {
		t.Fatal(err)
	}
	env = append(env, "NODE_PATH="+modules, "CDK_DISABLE_VERSION_CHECK=1", "CDK_DISABLE_CLI_TELEMETRY=true", "NO_COLOR=1", "NODE_NO_WARNINGS=1")
	cdk := func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "node", append([]string{filepath.Join(modules, "aws-cdk", "bin", "cdk"), "--app", "node app.js", "--ci", "--notices", "false"}, args...)...)
		cmd.Dir, cmd.Env = dir, env
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("cdk %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	want := func(out string, texts ...string) {
		t.Helper()
		for _, text := range texts {
			if !strings.Contains(out, text) {
				t.Errorf("the output lacks %q:\n%s", text, out)
			}
		}
	}
	want(cdk("bootstrap", "aws://"+e.Account+"/"+e.Region), "bootstrapped")
	want(cdk("deploy", "--require-approval", "never"), "shop.Address = ", ".elb.amazonaws.com", "/"+"shop/")
	want(cdk("diff"), "There were no differences")
	want(cdk("diff", "-c", "motto=closed"), "[~] AWS::SSM::Parameter", "open all hours", "closed")
	want(cdk("deploy", "-c", "motto=closed", "--require-approval", "never"), "UPDATE_COMPLETE")
	want(cdk("deploy", "-c", "motto=closed", "--require-approval", "never"), "(no changes)")
	want(cdk("drift"), "No drift detected")
	want(cdk("destroy", "--force"), "shop: destroyed")
}
