#include "core/durable_file.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <filesystem>

namespace mr {

Result<DurableFile> DurableFile::create(std::string temporary) {
  Fd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
  if (!fd) return fail_errno("cannot create a file", errno);
  return DurableFile(std::move(temporary), std::move(fd));
}

DurableFile::~DurableFile() {
  if (!path_.empty()) ::unlink(path_.c_str());
}

Result<> DurableFile::append(std::string_view b) {
  size_ += b.size();
  while (!b.empty()) {
    ssize_t n = ::write(fd_.get(), b.data(), b.size());
    if (n < 0) {
      if (errno == EINTR) continue;
      return fail_errno("cannot write", errno);
    }
    b.remove_prefix(static_cast<std::size_t>(n));
  }
  return {};
}

namespace {
Result<> sync_folder(const std::string& folder) {
  Fd fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd || ::fsync(fd.get()) != 0) return fail_errno("cannot sync a folder", errno);
  return {};
}
}  // namespace

Result<> DurableFile::commit(const std::string& final_path) {
  if (::fsync(fd_.get()) != 0) return fail_errno("cannot sync a file", errno);
  if (path_ != final_path && ::rename(path_.c_str(), final_path.c_str()) != 0)
    return fail_errno("cannot rename a file into place", errno);
  path_.clear();
  fd_.reset();
  return sync_folder(std::filesystem::path(final_path).parent_path().string());
}

Result<> write_unnamed_yet(const std::string& path, std::string_view bytes) {
  MR_TRY(auto file, DurableFile::create(path));
  MR_CHECK(file.append(bytes));
  return file.commit(path);
}

Result<> make_folders(const std::string& path) {
  std::filesystem::path p(path);
  std::error_code ec;
  if (std::filesystem::is_directory(p, ec)) return {};
  if (p.has_parent_path() && p.parent_path() != p) MR_CHECK(make_folders(p.parent_path().string()));
  if (::mkdir(path.c_str(), 0755) != 0 && errno != EEXIST) return fail_errno("cannot make the folder " + path, errno);
  if (!std::filesystem::is_directory(p, ec))
    return fail(Code::failed_precondition, path + " exists and is not a folder");
  return sync_folder(p.has_parent_path() ? p.parent_path().string() : ".");
}

}  // namespace mr
