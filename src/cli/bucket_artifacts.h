// A bucket seen as the tracking room's artifact store, so that mlflow-artifacts:/x and s3://mlflow-artifacts/x are the
// same bytes. Lives in the program's assembly: the one place that knows both rooms.
#pragma once
#include <memory>

#include "objects/signature.h"
#include "objects/store.h"
#include "tracking/api.h"

namespace mr::cli {

// `endpoint` and `credentials` make the presigned URLs of uploads in parts; an empty endpoint: no such uploads.
std::unique_ptr<tracking::ArtifactStore> make_bucket_artifacts(objects::Store& store, std::string bucket,
                                                               std::string endpoint = {},
                                                               objects::Credentials credentials = {});

}  // namespace mr::cli
