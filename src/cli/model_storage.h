// How predictors of `millrace up` reach models: the program's own tracking server and object store over loopback, other
// S3 servers by their endpoint. The functions block: for worker threads; thread safe.
#pragma once
#include <string>

#include "cli/settings.h"
#include "objects/signature.h"
#include "serving/controller/storage.h"

namespace mr::cli {

struct OwnStores {
  std::string tracking_url;  // http://127.0.0.1:5000
  std::string s3_url;        // http://127.0.0.1:9000
  objects::Credentials keys;
  std::string artifacts = "mlflow-artifacts";  // the bucket in which the tracking server keeps artifacts
};
// `resolve` is left to the caller.
serving::StorageOptions model_storage(const Settings& s, OwnStores own);

}  // namespace mr::cli
