// From a storageUri to a model on this machine: what KServe's storage initializer does. Blocking: for worker threads.
// The stores themselves are other rooms'; the program's assembly hands over how to reach them. Thread safe.
#pragma once
#include <atomic>
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "core/error.h"

namespace mr::serving {

// How to reach a bucket. Secret: never logged.
struct S3Access {
  std::string endpoint;  // scheme://host[:port], names of Services allowed
  std::string access_key, secret_key, region;
  bool anonymous = false;
};

struct StorageOptions {
  // models:/, runs:/ and mlflow-artifacts:/ URIs: puts the files into `target`, or names the local folder they lie in.
  std::function<Result<std::string>(const std::string& uri, const std::string& target)> tracked;
  // Everything below `prefix`, or the one object of that name, into the folder `target`; how many files it was.
  // With an empty endpoint: the program's own object store.
  std::function<Result<std::size_t>(const S3Access& access, const std::string& bucket, const std::string& prefix,
                                    const std::string& target, const std::atomic<bool>& stop)>
      bucket;
  // What names the present content at these places, for the cache of fetched models: keys and their entity tags. Empty:
  // it cannot be told. Not set: of no place.
  std::function<std::string(const std::string& uri)> tracked_state;
  std::function<std::string(const S3Access& access, const std::string& bucket, const std::string& prefix)> bucket_state;
  // "minio-service.kubeflow.svc.cluster.local", 9000 -> an address that can be connected to; empty: not a Service.
  std::function<std::string(const std::string& host, int port)> resolve;
};

using Environment = std::map<std::string, std::string>;

// The URI forms that KServe's webhook accepts and ours; the error has its wording.
Result<void> check_storage_uri(const std::string& uri);

// Fetches `uri` into the folder `target` (made when needed), or names the place where it lies already.
// `env` has what KServe puts into the initializer's environment. The error's message is the termination message.
// Once `stop` is true, it ends soon with an error.
Result<std::string> fetch_storage(const StorageOptions& options, const std::string& uri, const Environment& env,
                                  const std::string& target, const std::atomic<bool>& stop);
// Names what fetch_storage() would fetch now, or empty: it lies here already, or its source does not say.
std::string storage_state(const StorageOptions& options, const std::string& uri, const Environment& env);

}  // namespace mr::serving
