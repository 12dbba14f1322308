// What clients upload as a pipeline: the file of a multipart form, and the text inside YAML, JSON, .zip or .tar.gz.
// Pure functions; unpacking may take long and belongs on a pool.
#pragma once
#include <string>
#include <string_view>

#include "core/error.h"

namespace mr::pipelines {

constexpr std::size_t kPackageLimit = 32U << 20;  // of the file, and of what is in it

struct FormFile {
  std::string name;        // as the client calls it, without folders
  std::string_view bytes;  // views into the body
};
// The file of field `field`. Errors: invalid_argument.
Result<FormFile> form_file(std::string_view content_type, std::string_view body, std::string_view field);

// The text of a package: the file itself when its name says YAML or JSON; else pipeline.yaml of the archive, or the
// archive's first file when that is YAML. Errors: invalid_argument, too_large.
Result<std::string> package_text(std::string_view name, std::string_view bytes);

}  // namespace mr::pipelines
