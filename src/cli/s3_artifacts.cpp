#include "cli/s3_artifacts.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cstdlib>

#include "core/durable_file.h"
#include "crypto/random.h"
#include "objects/client.h"
#include "task/pool.h"

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
  return a;
}

namespace {

std::unexpected<Error> busy() {
  return fail(Code::unavailable, "too many file operations are waiting; try again later");
}

// A file of the temporary folder that is gone as soon as its last descriptor is closed.
Result<Fd> anonymous_file(const std::string& folder) {
  MR_CHECK(make_folders(folder));
  auto path = folder + "/" + crypto::random_hex(12);
  Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!fd) return fail_errno("cannot make a temporary file", errno);
  ::unlink(path.c_str());
  return fd;
}

bool write_all(int fd, std::string_view b) {
  while (!b.empty()) {
    ssize_t n = ::write(fd, b.data(), b.size());
    if (n <= 0) return false;
    b.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

class S3Artifacts : public tracking::ArtifactStore {
 public:
  S3Artifacts(S3Access access, std::string bucket, std::string prefix, std::string temporary)
      : access_(std::move(access)),
        bucket_(std::move(bucket)),
        prefix_(std::move(prefix)),
        temporary_(std::move(temporary)) {}

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
    auto r = co_await task::run_on(task::disk_pool(), [this, path]() -> Result<Opened> {
      objects::Client c(access_.endpoint, access_.credentials);
      Opened o;
      MR_TRY(o.fd, anonymous_file(temporary_));
      auto got = c.get(bucket_, key(path), [&](std::string_view piece) { return write_all(o.fd.get(), piece); });
      if (!got && got.error().code == Code::not_found) {
        auto below = c.list(bucket_, key(path) + "/", "/");
        if (below && !below->empty()) return fail(Code::failed_precondition, "is a folder");
        return fail(Code::not_found, fmt::format("No such artifact: '{}'", path));
      }
      if (!got) return std::unexpected(got.error());
      struct stat st{};
      if (::fstat(o.fd.get(), &st) != 0) return fail_errno("cannot read a temporary file", errno);
      o.size = static_cast<std::uint64_t>(st.st_size);
      o.modified_s = st.st_mtim.tv_sec;
      return o;
    });
    if (!r) co_return busy();
    co_return std::move(*r);
  }

  task::Task<Result<>> put(std::string path, http::BodyReader& body) override {
    auto made = anonymous_file(temporary_);
    if (!made) co_return std::unexpected(made.error());
    std::size_t size = 0;
    for (;;) {
      MR_CO_TRY(auto piece, co_await body.read());
      if (piece.empty()) break;
      if (!write_all(made->get(), piece))
        co_return fail(Code::resource_exhausted, "a temporary file cannot be written; is the disk full?");
      size += piece.size();
    }
    auto r = co_await task::run_on(task::disk_pool(), [&]() -> Result<> {
      objects::Client c(access_.endpoint, access_.credentials);
      if (size == 0) return c.put(bucket_, key(path), {});
      // Mapped, not read: the page cache pays for a large artifact, not the process.
      void* p = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, made->get(), 0);
      if (p == MAP_FAILED) return fail_errno("cannot map a temporary file", errno);
      auto sent = c.put(bucket_, key(path), {static_cast<const char*>(p), size});
      ::munmap(p, size);
      return sent;
    });
    if (!r) co_return busy();
    co_return *r;
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

 private:
  [[nodiscard]] std::string key(const std::string& path) const {
    return prefix_.empty() ? path : path.empty() ? prefix_ : prefix_ + "/" + path;
  }
  S3Access access_;
  std::string bucket_;
  std::string prefix_;
  std::string temporary_;
};

}  // namespace

std::unique_ptr<tracking::ArtifactStore> make_s3_artifacts(S3Access access, std::string bucket, std::string prefix,
                                                           std::string temporary) {
  while (prefix.starts_with('/')) prefix.erase(0, 1);
  while (prefix.ends_with('/')) prefix.pop_back();
  return std::make_unique<S3Artifacts>(std::move(access), std::move(bucket), std::move(prefix), std::move(temporary));
}

}  // namespace mr::cli
