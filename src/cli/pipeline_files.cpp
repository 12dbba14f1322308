#include "cli/pipeline_files.h"

#include <unistd.h>

#include <filesystem>

#include "objects/api.h"

namespace mr::cli {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxArtifactFiles = 100'000;  // of one artifact that is a folder

struct Place {
  std::string bucket, key;
};
Result<Place> place_of(std::string_view uri) {
  auto at = uri.find("://");
  auto rest = at == std::string_view::npos ? std::string_view() : uri.substr(at + 3);
  auto slash = rest.find('/');
  Place p{std::string(rest.substr(0, slash)),
          std::string(slash == std::string_view::npos ? std::string_view() : rest.substr(slash + 1))};
  while (p.key.ends_with('/')) p.key.pop_back();
  if (p.bucket.empty()) return fail(Code::invalid_argument, fmt::format("{} names no bucket", uri));
  // Steps find objects at paths made of their URIs.
  for (const auto& part : fs::path(p.bucket + "/" + p.key))
    if (part == ".." || part == ".") return fail(Code::invalid_argument, fmt::format("{} is no path", uri));
  return p;
}

// Keys are names that clients chose: none may lead out of the step's folder.
bool safe(std::string_view key) {
  if (key.empty() || key.front() == '/' || key.contains('\0')) return false;
  for (const auto& part : fs::path(key))
    if (part == ".." || part == "." || part.empty()) return false;
  return true;
}

class PipelineFiles final : public pipelines::ArtifactFiles {
 public:
  explicit PipelineFiles(objects::Store& store) : store_(store) {}

  [[nodiscard]] bool serves(const std::string& uri) const override {
    return uri.starts_with("s3://") || uri.starts_with("minio://");
  }

  [[nodiscard]] Result<bool> exists(const std::string& uri) override {
    MR_TRY(auto p, place_of(uri));
    if (store_.head(p.bucket, p.key)) return true;
    objects::ListQuery q;
    q.prefix = p.key.empty() ? "" : p.key + "/";
    q.max_keys = 1;
    auto page = store_.list(p.bucket, q);
    return page && !page->objects.empty();
  }

  task::Task<Result<void>> fetch(std::string uri, std::string path) override {
    MR_CO_TRY(auto p, place_of(uri));
    if (auto o = store_.head(p.bucket, p.key)) co_return link(o->blob, path);
    objects::ListQuery q;
    q.prefix = p.key.empty() ? "" : p.key + "/";
    std::size_t files = 0;
    for (;;) {
      auto page = store_.list(p.bucket, q);
      if (!page) co_return fail(page.error().code, page.error().message);
      for (const auto& o : page->objects) {
        auto below = std::string_view(o.key).substr(q.prefix.size());
        if (below.empty() || below.ends_with('/')) continue;
        if (!safe(below)) co_return fail(Code::invalid_argument, fmt::format("the key \"{}\" is no path", o.key));
        if (++files > kMaxArtifactFiles)
          co_return fail(Code::too_large, fmt::format("it holds more than {} files", kMaxArtifactFiles));
        MR_CO_CHECK(link(o.blob, fmt::format("{}/{}", path, below)));
      }
      if (!page->truncated) break;
      q.after = page->last;
    }
    if (files == 0) co_return fail(Code::not_found, fmt::format("there is nothing at {}", uri));
    co_return Result<void>{};
  }

  task::Task<Result<void>> keep(std::string path, std::string uri) override {
    MR_CO_TRY(auto p, place_of(uri));
    std::error_code ec;
    if (fs::is_regular_file(fs::symlink_status(path, ec))) {
      auto r = co_await objects::adopt_file(store_, p.bucket, p.key, path);
      if (!r) co_return fail(r.error().code, r.error().message, {}, r.error().detail);
      co_return Result<void>{};
    }
    std::vector<std::string> files;
    for (fs::recursive_directory_iterator it(path, ec), end; !ec && it != end; it.increment(ec)) {
      if (!it->is_regular_file(ec) || it->is_symlink(ec)) continue;
      files.push_back(it->path().string());
      if (files.size() > kMaxArtifactFiles)
        co_return fail(Code::too_large, fmt::format("it holds more than {} files", kMaxArtifactFiles));
    }
    for (const auto& f : files) {
      auto r = co_await objects::adopt_file(store_, p.bucket, p.key + f.substr(path.size()), f);
      if (!r) co_return fail(r.error().code, r.error().message, {}, r.error().detail);
    }
    co_return Result<void>{};
  }

 private:
  Result<void> link(const std::string& blob, const std::string& path) const {
    std::error_code ec;
    fs::create_directories(fs::path(path).parent_path(), ec);
    auto from = store_.blob_path(blob);
    if (::link(from.c_str(), path.c_str()) == 0) return {};
    // Another file system, or one without links.
    if (fs::copy_file(from, path, fs::copy_options::overwrite_existing, ec)) return {};
    return fail(Code::internal, fmt::format("{} cannot be written: {}", path, ec.message()));
  }
  objects::Store& store_;
};

}  // namespace

std::unique_ptr<pipelines::ArtifactFiles> make_pipeline_files(objects::Store& store) {
  return std::make_unique<PipelineFiles>(store);
}

}  // namespace mr::cli
