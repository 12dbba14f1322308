#include "cli/bucket_artifacts.h"

#include "crypto/random.h"
#include "http/files.h"
#include "objects/api.h"
#include "time/clock.h"

namespace mr::cli {

namespace {

// Errors of the object store without their S3 codes, which mean nothing to an MLflow client.
template <class T>
Result<T> neutral(Result<T> r) {
  if (!r) r.error().reason.clear();
  return r;
}

class BucketArtifacts : public tracking::ArtifactStore {
 public:
  BucketArtifacts(objects::Store& store, std::string bucket, std::string endpoint, objects::Credentials credentials)
      : store_(store),
        bucket_(std::move(bucket)),
        endpoint_(std::move(endpoint)),
        credentials_(std::move(credentials)) {}

  task::Task<Result<std::vector<Entry>>> list(std::string path) override {
    objects::ListQuery q;
    q.prefix = path.empty() ? "" : path + "/";
    q.delimiter = "/";
    std::vector<Entry> out;
    for (;;) {
      MR_CO_TRY(auto page, neutral(store_.list(bucket_, q)));
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
    MR_CO_TRY(out.fd, neutral(store_.open_blob(o->blob)));
    out.size = o->size;
    out.etag = "\"" + o->etag + "\"";
    out.modified_s = o->modified_ms / 1000;
    co_return std::move(out);
  }

  task::Task<Result<>> put(std::string path, http::BodyReader& body) override {
    co_return neutral(co_await objects::put_stream(store_, bucket_, std::move(path), body));
  }

  task::Task<Result<>> remove(std::string path) override {
    std::vector<std::string> keys{path};
    objects::ListQuery q;
    q.prefix = path + "/";
    for (;;) {
      MR_CO_TRY(auto page, neutral(store_.list(bucket_, q)));
      for (auto& o : page.objects) keys.push_back(std::move(o.key));
      MR_CO_CHECK(neutral(co_await store_.remove_all(bucket_, std::move(keys))));
      keys.clear();
      if (!page.truncated) co_return Result<>{};
      q.after = page.last;
    }
  }

  bool takes_parts() const override { return !endpoint_.empty(); }

  task::Task<Result<PartUpload>> create_upload(std::string path, int parts) override {
    if (endpoint_.empty()) co_return co_await ArtifactStore::create_upload(path, parts);
    objects::Upload u;
    u.id = crypto::random_hex(16);
    u.bucket = bucket_;
    u.key = path;
    u.created_ms = time::now_ms();
    u.metadata["content-type"] = "application/octet-stream";
    MR_CO_CHECK(neutral(co_await store_.create_upload(u)));
    PartUpload out{u.id, {}};
    for (int n = 1; n <= parts; ++n)
      out.urls.push_back(objects::presign(credentials_, "PUT", endpoint_, bucket_, path,
                                          {{"partNumber", std::to_string(n)}, {"uploadId", u.id}},
                                          time::now_ms() / 1000, 3600));
    co_return out;
  }
  task::Task<Result<>> complete_upload(std::string path, std::string id, std::vector<UploadedPart> parts) override {
    MR_CO_TRY(auto u, neutral(store_.upload(bucket_, path, id)));
    std::vector<objects::PartClaim> claims;
    for (auto& p : parts) {
      auto etag = p.etag;
      if (etag.size() >= 2 && etag.front() == '"' && etag.back() == '"') etag = etag.substr(1, etag.size() - 2);
      claims.push_back({p.number, std::move(etag), {}});
    }
    MR_CO_CHECK(neutral(co_await objects::complete_upload(store_, std::move(u), std::move(claims), {}, {})));
    co_return Result<>{};
  }
  task::Task<Result<Presigned>> presign_download(std::string path, int seconds) override {
    if (endpoint_.empty()) co_return co_await ArtifactStore::presign_download(path, seconds);
    MR_CO_TRY(auto o, co_await open(path));
    co_return Presigned{
        objects::presign(credentials_, "GET", endpoint_, bucket_, path,
                         {{"response-content-disposition", http::attachment(path.substr(path.rfind('/') + 1))}},
                         time::now_ms() / 1000, seconds),
        {},
        o.size};
  }
  task::Task<Result<Presigned>> presign_upload(std::string path, int seconds) override {
    if (endpoint_.empty()) co_return co_await ArtifactStore::presign_upload(path, seconds);
    auto type = http::content_type_for(path);
    co_return Presigned{
        objects::presign(credentials_, "PUT", endpoint_, bucket_, path, {}, time::now_ms() / 1000, seconds),
        {{"Content-Type", std::string(type.substr(0, type.find(';')))}},
        std::nullopt};
  }
  task::Task<Result<>> abort_upload(std::string path, std::string id) override {
    MR_CO_TRY(auto u, neutral(store_.upload(bucket_, path, id)));
    co_return neutral(co_await store_.abort(std::move(u)));
  }

 private:
  objects::Store& store_;
  std::string bucket_;
  std::string endpoint_;
  objects::Credentials credentials_;
};

}  // namespace

std::unique_ptr<tracking::ArtifactStore> make_bucket_artifacts(objects::Store& store, std::string bucket,
                                                               std::string endpoint, objects::Credentials credentials) {
  return std::make_unique<BucketArtifacts>(store, std::move(bucket), std::move(endpoint), std::move(credentials));
}

}  // namespace mr::cli
