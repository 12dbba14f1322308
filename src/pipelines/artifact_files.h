// Artifacts as files: what the runner asks of the object store. Implemented where the program is put together.
// Used on the runner's loop; each call resumes on it.
#pragma once
#include <string>

#include "core/error.h"
#include "task/task.h"

namespace mr::pipelines {

class ArtifactFiles {
 public:
  virtual ~ArtifactFiles() = default;
  // Whether this store holds what URIs of this form name ("s3://…", "minio://…").
  [[nodiscard]] virtual bool serves(const std::string& uri) const = 0;
  // Makes the object, or the folder of objects below it, appear at `path`, as hard links where the file system allows:
  // they must not be written to. not_found: there is neither.
  virtual task::Task<Result<void>> fetch(std::string uri, std::string path) = 0;
  // Keeps the file or folder at `path` under the URI, durably, without copying: nobody may write to it any more.
  virtual task::Task<Result<void>> keep(std::string path, std::string uri) = 0;
  [[nodiscard]] virtual Result<bool> exists(const std::string& uri) = 0;
};

}  // namespace mr::pipelines
