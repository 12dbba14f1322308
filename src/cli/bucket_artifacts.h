// A bucket seen as the tracking room's artifact store, so that mlflow-artifacts:/x and s3://mlflow-artifacts/x are the
// same bytes. Lives in the program's assembly: the one place that knows both rooms.
#pragma once
#include <memory>

#include "objects/store.h"
#include "tracking/api.h"

namespace mr::cli {

std::unique_ptr<tracking::ArtifactStore> make_bucket_artifacts(objects::Store& store, std::string bucket);

}  // namespace mr::cli
