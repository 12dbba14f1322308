#include <fcntl.h>
#include <sys/stat.h>

#include "core/durable_file.h"
#include "crypto/random.h"
#include "task/pool.h"
#include "tracking/api.h"
#include "tracking/errors.h"

namespace mr::tracking {

namespace fs = std::filesystem;

namespace {

std::unexpected<Error> busy() {
  return fail(Code::unavailable, "too many file operations are waiting; try again later");
}

class FolderStore : public ArtifactStore {
 public:
  explicit FolderStore(std::string root) : root_(std::move(root)) {}

  task::Task<Result<std::vector<Entry>>> list(std::string path) override {
    auto r = co_await task::run_on(task::disk_pool(), [this, path]() -> Result<std::vector<Entry>> {
      std::vector<Entry> out;
      std::error_code ec;
      for (fs::directory_iterator it(full(path), ec), end; !ec && it != end; it.increment(ec)) {
        std::error_code e2;
        Entry e;
        auto name = it->path().filename().string();
        if (name.starts_with(kTemporary)) continue;
        e.path = path.empty() ? name : fmt::format("{}/{}", path, name);
        e.is_dir = it->is_directory(e2);
        if (!e.is_dir) e.size = it->file_size(e2);
        if (!e2) out.push_back(std::move(e));
      }
      std::sort(out.begin(), out.end(), [](const Entry& a, const Entry& b) { return a.path < b.path; });
      return out;
    });
    if (!r) co_return busy();
    co_return std::move(*r);
  }

  task::Task<Result<Opened>> open(std::string path) override {
    Opened o;
    o.fd = Fd(::open(full(path).c_str(), O_RDONLY | O_CLOEXEC));
    struct stat st{};
    if (!o.fd || ::fstat(o.fd.get(), &st) != 0)
      co_return fail(Code::not_found, fmt::format("No such artifact: '{}'", path));
    if (S_ISDIR(st.st_mode)) co_return fail(Code::failed_precondition, "is a folder");
    o.size = static_cast<std::uint64_t>(st.st_size);
    o.modified_s = st.st_mtim.tv_sec;
    o.etag = fmt::format("\"{:x}-{:x}-{:x}\"", o.size, st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
    co_return std::move(o);
  }

  task::Task<Result<>> put(std::string path, http::BodyReader& body) override {
    auto target = full(path);
    auto folder = fs::path(target).parent_path().string();
    auto made = co_await task::run_on(task::disk_pool(), [&]() -> Result<DurableFile> {
      std::error_code ec;
      if (fs::is_directory(target, ec))
        return invalid(fmt::format("'{}' is a folder of artifacts; a file cannot take its place", path));
      for (auto p = fs::path(target).parent_path(); p.string().size() > root_.size(); p = p.parent_path())
        if (fs::exists(p, ec) && !fs::is_directory(p, ec))
          return invalid(fmt::format("'{}' cannot be stored: a part of its path is a file", path));
      MR_CHECK(make_folders(folder));
      return DurableFile::create(folder + "/" + std::string(kTemporary) + crypto::random_hex(8));
    });
    if (!made) co_return busy();
    if (!*made) co_return std::unexpected((*made).error());
    auto& file = **made;
    for (;;) {
      MR_CO_TRY(auto piece, co_await body.read());
      if (piece.empty()) break;
      MR_CO_CHECK(file.append(piece));
    }
    auto done = co_await task::run_on(task::disk_pool(), [&] { return file.commit(target); });
    if (!done) co_return busy();
    co_return *done;
  }

  task::Task<Result<>> remove(std::string path) override {
    auto r = co_await task::run_on(task::disk_pool(), [this, path]() -> Result<> {
      std::error_code ec;
      fs::remove_all(full(path), ec);
      if (ec) return fail(Code::internal, "cannot remove artifacts", {}, ec.message());
      return {};
    });
    if (!r) co_return busy();
    co_return *r;
  }

 private:
  static constexpr std::string_view kTemporary = ".millrace-upload-";
  [[nodiscard]] std::string full(const std::string& path) const { return path.empty() ? root_ : root_ + "/" + path; }
  std::string root_;
};

}  // namespace

namespace {
std::unexpected<Error> not_offered(std::string_view what) {
  return fail(Code::unimplemented, fmt::format("{} is not supported for the current artifact repository", what),
              "NOT_IMPLEMENTED");
}
std::unexpected<Error> no_parts() { return not_offered("Multipart upload"); }
}  // namespace

task::Task<Result<ArtifactStore::PartUpload>> ArtifactStore::create_upload(std::string, int) { co_return no_parts(); }
task::Task<Result<>> ArtifactStore::complete_upload(std::string, std::string, std::vector<UploadedPart>) {
  co_return no_parts();
}
task::Task<Result<>> ArtifactStore::abort_upload(std::string, std::string) { co_return no_parts(); }
task::Task<Result<ArtifactStore::Presigned>> ArtifactStore::presign_download(std::string, int) {
  co_return not_offered("Presigned download");
}
task::Task<Result<ArtifactStore::Presigned>> ArtifactStore::presign_upload(std::string, int) {
  co_return not_offered("Presigned upload");
}

std::unique_ptr<ArtifactStore> make_folder_store(std::string root) {
  while (root.size() > 1 && root.ends_with('/')) root.pop_back();
  return std::make_unique<FolderStore>(std::move(root));
}

}  // namespace mr::tracking
