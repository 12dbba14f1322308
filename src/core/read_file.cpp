#include "core/read_file.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>

#include "core/fd.h"

namespace mr {

namespace {

// Appends up to `limit` bytes; the error of the read that failed, or 0.
int append(int fd, std::size_t limit, std::string& out) {
  constexpr std::size_t kPiece = 64 * 1024;
  while (out.size() < limit) {
    const auto at = out.size();
    out.resize(at + std::min(kPiece, limit - at));
    auto n = ::read(fd, out.data() + at, out.size() - at);
    const int error = n < 0 ? errno : 0;
    out.resize(at + static_cast<std::size_t>(std::max<ssize_t>(n, 0)));
    if (error == EINTR) continue;
    if (n <= 0) return error;
  }
  return 0;
}

}  // namespace

Result<std::string> read_whole(const std::string& path, std::size_t limit) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return fail(Code::not_found, fmt::format("{}: {}", path, std::strerror(errno)));
  std::string out;
  if (int error = append(fd.get(), limit + 1, out); error != 0)
    return fail(Code::data_loss, fmt::format("{}: {}", path, std::strerror(error)));
  if (out.size() > limit) return fail(Code::too_large, fmt::format("{} is larger than {} bytes", path, limit));
  return out;
}

std::string read_or_empty(const std::string& path, std::size_t limit) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::string out;
  if (fd) (void)append(fd.get(), limit, out);
  return out;
}

}  // namespace mr
