"""Makes a user of moto's cloud who may use one key, and prints who that is: kms.py PORT.

moto lets the first calls pass unsigned (INITIAL_NO_AUTH_ACTION_COUNT=4) and verifies the signature and the rights of
every call after them.
"""

import json
import sys

import boto3

REGION = "eu-central-1"


def client(service):
    return boto3.client(
        service,
        region_name=REGION,
        endpoint_url=f"http://127.0.0.1:{sys.argv[1]}",
        aws_access_key_id="nobody",
        aws_secret_access_key="nobody",
    )


iam, kms = client("iam"), client("kms")
iam.create_user(UserName="gateway")
policy = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": ["kms:Encrypt", "kms:Decrypt"], "Resource": "*"}],
}
iam.put_user_policy(UserName="gateway", PolicyName="keys", PolicyDocument=json.dumps(policy))
made = iam.create_access_key(UserName="gateway")["AccessKey"]
key = kms.create_key()["KeyMetadata"]["KeyId"]
print(json.dumps({"access_key": made["AccessKeyId"], "secret_key": made["SecretAccessKey"], "key": key}))
