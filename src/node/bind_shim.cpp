#include "node/bind_shim.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "core/fd.h"

// The path of the built library comes from CMake.
asm(".pushsection .rodata\n"
    ".balign 16\n"
    ".global mr_bind_shim\n"
    "mr_bind_shim:\n"
    ".incbin \"" MILLRACE_BIND_SHIM
    "\"\n"
    ".global mr_bind_shim_end\n"
    "mr_bind_shim_end:\n"
    ".popsection\n");
extern "C" const char mr_bind_shim[], mr_bind_shim_end[];

namespace mr::node {

Result<std::string> write_bind_shim(const std::string& folder) {
  auto path = folder + "/bind.so", next = path + ".new";
  auto size = static_cast<std::size_t>(mr_bind_shim_end - mr_bind_shim);
  {
    Fd fd(::open(next.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0755));
    if (!fd) return fail_errno(next, errno);
    if (::write(fd.get(), mr_bind_shim, size) != static_cast<ssize_t>(size)) return fail_errno(next, errno);
  }
  if (::rename(next.c_str(), path.c_str()) != 0) return fail_errno(path, errno);
  return path;
}

}  // namespace mr::node
