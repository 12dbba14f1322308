#include "cli/bucket_artifacts.h"

#include "objects/api.h"

namespace mr::cli {

namespace {

class BucketArtifacts : public tracking::ArtifactStore {
 public:
  BucketArtifacts(objects::Store& store, std::string bucket) : store_(store), bucket_(std::move(bucket)) {}

  task::Task<Result<std::vector<Entry>>> list(std::string path) override {
    objects::ListQuery q;
    q.prefix = path.empty() ? "" : path + "/";
    q.delimiter = "/";
    std::vector<Entry> out;
    for (;;) {
      MR_CO_TRY(auto page, store_.list(bucket_, q));
      for (auto& o : page.objects)
        if (o.key != q.prefix) out.push_back({std::move(o.key), false, o.size});
      for (auto& p : page.prefixes) out.push_back({p.substr(0, p.size() - 1), true, 0});
      if (!page.truncated) break;
      q.after = page.last;
    }
    std::sort(out.begin(), out.end(), [](const Entry& a, const Entry& b) { return a.path < b.path; });
    co_return out;
  }

  task::Task<Result<Opened>> open(std::string path) override {
    auto o = store_.head(bucket_, path);
    if (!o) {
      objects::ListQuery q;
      q.prefix = path + "/";
      q.max_keys = 1;
      auto below = store_.list(bucket_, q);
      if (below && !below->objects.empty()) co_return fail(Code::failed_precondition, "is a folder");
      co_return fail(Code::not_found, fmt::format("No such artifact: '{}'", path));
    }
    Opened out;
    MR_CO_TRY(out.fd, store_.open_blob(o->blob));
    out.size = o->size;
    out.etag = "\"" + o->etag + "\"";
    out.modified_s = o->modified_ms / 1000;
    co_return std::move(out);
  }

  task::Task<Result<>> put(std::string path, http::BodyReader& body) override { co_return co_await objects::put_stream(store_, bucket_, std::move(path), body); }

  task::Task<Result<>> remove(std::string path) override {
    std::vector<std::string> keys{path};
    objects::ListQuery q;
    q.prefix = path + "/";
    for (;;) {
      MR_CO_TRY(auto page, store_.list(bucket_, q));
      for (auto& o : page.objects) keys.push_back(std::move(o.key));
      MR_CO_CHECK(co_await store_.remove_all(bucket_, std::move(keys)));
      keys.clear();
      if (!page.truncated) co_return Result<>{};
      q.after = page.last;
    }
  }

 private:
  objects::Store& store_;
  std::string bucket_;
};

}  // namespace

std::unique_ptr<tracking::ArtifactStore> make_bucket_artifacts(objects::Store& store, std::string bucket) { return std::make_unique<BucketArtifacts>(store, std::move(bucket)); }

}  // namespace mr::cli
