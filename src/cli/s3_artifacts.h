// A bucket of any S3 server as the tracking room's artifact store, and where that server is.
#pragma once
#include <memory>
#include <string>

#include "cli/settings.h"
#include "objects/signature.h"
#include "tracking/api.h"

namespace mr::cli {

// The first of the environment variables that is set, or `fallback`; `other` may be null.
std::string environment(const char* name, const char* other, const char* fallback);

struct S3Access {
  std::string endpoint;  // flag, MLFLOW_S3_ENDPOINT_URL, AWS_ENDPOINT_URL, else this machine's 9000
  objects::Credentials credentials;
};
S3Access s3_access(const Settings& s);

// Objects below s3://bucket/prefix. Thread safe; what talks to the server runs on the disk pool, a piece of 8 MiB at a
// time, so that neither a large file nor a slow client holds much memory or a thread.
std::unique_ptr<tracking::ArtifactStore> make_s3_artifacts(S3Access access, std::string bucket, std::string prefix);

}  // namespace mr::cli
