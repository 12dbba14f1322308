// Artifacts of pipelines in the object store of this program: files appear in steps and leave them as hard links.
#pragma once
#include <memory>

#include "objects/store.h"
#include "pipelines/artifact_files.h"

namespace mr::cli {

// `store` must outlive it. Serves s3:// and minio:// URIs.
std::unique_ptr<pipelines::ArtifactFiles> make_pipeline_files(objects::Store& store);

}  // namespace mr::cli
