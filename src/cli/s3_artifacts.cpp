#include "cli/s3_artifacts.h"

#include <cstdlib>

#include "http/files.h"
#include "objects/client.h"
#include "task/pool.h"
#include "time/clock.h"

namespace mr::cli {

std::string environment(const char* name, const char* other, const char* fallback) {
  for (const char* n : {name, other})
    if (n != nullptr)
      if (const char* v = std::getenv(n); v != nullptr && *v != 0) return v;
  return fallback;
}

S3Access s3_access(const Settings& s) {
  S3Access a;
  a.endpoint = !s.s3_endpoint.empty()
                   ? s.s3_endpoint
                   : environment("MLFLOW_S3_ENDPOINT_URL", "AWS_ENDPOINT_URL", "http://127.0.0.1:9000");
  a.credentials.access_key =
      s.keys_given ? s.access_key : environment("AWS_ACCESS_KEY_ID", nullptr, s.access_key.c_str());
  a.credentials.secret_key =
      s.keys_given ? s.secret_key : environment("AWS_SECRET_ACCESS_KEY", nullptr, s.secret_key.c_str());
  a.credentials.region = environment("AWS_REGION", "AWS_DEFAULT_REGION", "us-east-1");
  return a;
}

namespace {

std::unexpected<Error> busy() {
  return fail(Code::unavailable, "too many file operations are waiting; try again later");
}

// What is held of a file at once: a piece of a download, a part of an upload.
constexpr std::size_t kPiece = 8U << 20;
// S3 takes 10,000 parts: they grow with their number, so that a body of unknown length can reach S3's 5 TiB.
std::size_t part_size(std::size_t parts_before) { return kPiece << std::min<std::size_t>(parts_before / 1000, 8); }

class S3Artifacts : public tracking::ArtifactStore {
 public:
  S3Artifacts(S3Access access, std::string bucket, std::string prefix)
      : access_(std::move(access)), bucket_(std::move(bucket)), prefix_(std::move(prefix)) {}

  task::Task<Result<std::vector<Entry>>> list(std::string path) override {
    auto r = co_await task::run_on(task::disk_pool(), [this, path]() -> Result<std::vector<Entry>> {
      objects::Client c(access_.endpoint, access_.credentials);
      auto folder = key(path);
      if (!folder.empty()) folder += "/";
      MR_TRY(auto found, c.list(bucket_, folder, "/"));
      std::vector<Entry> out;
      for (const auto& e : found) {
        if (e.key == folder) continue;
        auto name = e.key.substr(prefix_.empty() ? 0 : prefix_.size() + 1);
        if (e.prefix) name.pop_back();
        out.push_back({std::move(name), e.prefix, e.size});
      }
      std::sort(out.begin(), out.end(), [](const Entry& a, const Entry& b) { return a.path < b.path; });
      return out;
    });
    if (!r) co_return busy();
    co_return std::move(*r);
  }

  task::Task<Result<Opened>> open(std::string path) override {
    auto client = std::make_shared<objects::Client>(access_.endpoint, access_.credentials);
    auto r = co_await task::run_on(task::disk_pool(), [this, path, client]() -> Result<Opened> {
      auto got = client->head(bucket_, key(path));
      if (!got && got.error().code == Code::not_found) {
        auto below = client->list(bucket_, key(path) + "/", "/");
        if (below && !below->empty()) return fail(Code::failed_precondition, "is a folder");
        return fail(Code::not_found, fmt::format("No such artifact: '{}'", path));
      }
      if (!got) return std::unexpected(got.error());
      Opened o;
      o.size = got->size;
      o.etag = got->etag;
      o.modified_s = std::max<std::int64_t>(got->modified_s, 0);
      return o;
    });
    if (!r) co_return busy();
    if (*r)
      (*r)->read = [this, path, client, etag = (*r)->etag](std::uint64_t offset, std::uint64_t length) {
        return read_range(client, path, etag, offset, length);
      };
    co_return std::move(*r);
  }

  task::Task<Result<>> put(std::string path, http::BodyReader& body) override {
    objects::Client client(access_.endpoint, access_.credentials);
    auto blocking = [](auto fn) -> task::Task<decltype(fn())> {
      auto r = co_await task::run_on(task::disk_pool(), std::move(fn));
      if (!r) co_return busy();
      co_return std::move(*r);
    };
    std::string upload;  // set once there is more than one part
    std::vector<objects::Client::Part> parts;
    auto steps = [&]() -> task::Task<Result<>> {
      std::string piece;
      for (;;) {
        piece.clear();
        auto want = part_size(parts.size());
        bool end = false;
        while (!end && piece.size() < want) {
          MR_CO_TRY(auto got, co_await body.read());
          end = got.empty();
          piece += got;
        }
        if (end && upload.empty()) {
          MR_CO_CHECK(co_await blocking([&] { return client.put(bucket_, key(path), piece); }));
          co_return Result<>{};
        }
        if (upload.empty()) {
          MR_CO_TRY(upload, co_await blocking([&] { return client.create_upload(bucket_, key(path)); }));
        }
        if (!piece.empty()) {
          int number = static_cast<int>(parts.size()) + 1;
          MR_CO_TRY(auto etag,
                    co_await blocking([&] { return client.put_part(bucket_, key(path), upload, number, piece); }));
          parts.push_back({number, std::move(etag)});
        }
        if (end) {
          MR_CO_CHECK(co_await blocking([&] { return client.complete_upload(bucket_, key(path), upload, parts); }));
          co_return Result<>{};
        }
      }
    };
    auto done = co_await steps();
    // What was sent of it must not stay and be paid for; where this fails too, the bucket's own rules clean up.
    if (!done && !upload.empty())
      (void)co_await blocking([&]() -> Result<> { return client.abort_upload(bucket_, key(path), upload); });
    co_return done;
  }

  task::Task<Result<>> remove(std::string path) override {
    auto r = co_await task::run_on(task::disk_pool(), [this, path]() -> Result<> {
      objects::Client c(access_.endpoint, access_.credentials);
      MR_CHECK(c.remove(bucket_, key(path)));
      MR_TRY(auto found, c.list(bucket_, key(path) + "/"));
      for (const auto& e : found) MR_CHECK(c.remove(bucket_, e.key));
      return {};
    });
    if (!r) co_return busy();
    co_return *r;
  }

  bool takes_parts() const override { return true; }

  task::Task<Result<PartUpload>> create_upload(std::string path, int parts) override {
    auto r = co_await task::run_on(task::disk_pool(), [&]() -> Result<PartUpload> {
      objects::Client c(access_.endpoint, access_.credentials);
      PartUpload out;
      MR_TRY(out.upload_id, c.create_upload(bucket_, key(path)));
      for (int n = 1; n <= parts; ++n)
        out.urls.push_back(objects::presign(access_.credentials, "PUT", access_.endpoint, bucket_, key(path),
                                            {{"partNumber", std::to_string(n)}, {"uploadId", out.upload_id}},
                                            time::now_ms() / 1000, 3600));
      return out;
    });
    if (!r) co_return busy();
    co_return std::move(*r);
  }
  task::Task<Result<>> complete_upload(std::string path, std::string id, std::vector<UploadedPart> parts) override {
    auto r = co_await task::run_on(task::disk_pool(), [&]() -> Result<> {
      objects::Client c(access_.endpoint, access_.credentials);
      std::vector<objects::Client::Part> claims;
      claims.reserve(parts.size());
      for (auto& p : parts) claims.push_back({p.number, std::move(p.etag)});
      return c.complete_upload(bucket_, key(path), id, claims);
    });
    if (!r) co_return busy();
    co_return *r;
  }
  task::Task<Result<>> abort_upload(std::string path, std::string id) override {
    auto r = co_await task::run_on(task::disk_pool(), [&]() -> Result<> {
      return objects::Client(access_.endpoint, access_.credentials).abort_upload(bucket_, key(path), id);
    });
    if (!r) co_return busy();
    co_return *r;
  }

  task::Task<Result<Presigned>> presign_download(std::string path, int seconds) override {
    MR_CO_TRY(auto opened, co_await open(path));
    auto name = path.substr(path.rfind('/') + 1);
    co_return Presigned{
        objects::presign(access_.credentials, "GET", access_.endpoint, bucket_, key(path),
                         {{"response-content-disposition", http::attachment(name)}}, time::now_ms() / 1000, seconds),
        {},
        opened.size};
  }
  task::Task<Result<Presigned>> presign_upload(std::string path, int seconds) override {
    auto type = http::content_type_for(path);
    co_return Presigned{objects::presign(access_.credentials, "PUT", access_.endpoint, bucket_, key(path), {},
                                         time::now_ms() / 1000, seconds),
                        {{"Content-Type", std::string(type.substr(0, type.find(';')))}},
                        std::nullopt};
  }

 private:
  task::Task<Result<std::string>> read_range(std::shared_ptr<objects::Client> client, std::string path,
                                             std::string etag, std::uint64_t offset, std::uint64_t length) {
    auto r = co_await task::run_on(task::disk_pool(),
                                   [&] { return client->get_range(bucket_, key(path), offset, length, etag); });
    if (!r) co_return busy();
    co_return std::move(*r);
  }
  [[nodiscard]] std::string key(const std::string& path) const {
    return prefix_.empty() ? path : path.empty() ? prefix_ : prefix_ + "/" + path;
  }
  S3Access access_;
  std::string bucket_;
  std::string prefix_;
};

}  // namespace

std::unique_ptr<tracking::ArtifactStore> make_s3_artifacts(S3Access access, std::string bucket, std::string prefix) {
  while (prefix.starts_with('/')) prefix.erase(0, 1);
  while (prefix.ends_with('/')) prefix.pop_back();
  return std::make_unique<S3Artifacts>(std::move(access), std::move(bucket), std::move(prefix));
}

}  // namespace mr::cli
