#include "core/read_file.h"

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <filesystem>
#include <fstream>

namespace mr {
namespace {

namespace fs = std::filesystem;

TEST(ReadFile, WholeOrAnError) {
  auto path = (fs::temp_directory_path() / fmt::format("mr-read-{}", ::getpid())).string();
  std::ofstream(path) << std::string(200'000, 'a') << "end";
  auto all = read_whole(path, 200'003);
  ASSERT_TRUE(all);
  EXPECT_EQ(all->size(), 200'003U);
  EXPECT_TRUE(all->ends_with("aend"));
  EXPECT_EQ(read_whole(path, 200'002).error().code, Code::too_large);
  EXPECT_EQ(read_or_empty(path, 10), std::string(10, 'a'));
  fs::remove(path);
  EXPECT_EQ(read_whole(path, 10).error().code, Code::not_found);
  EXPECT_EQ(read_or_empty(path), "");
}

TEST(ReadFile, AFolderIsAnErrorAndNoException) {
  auto folder = fs::temp_directory_path().string();
  EXPECT_EQ(read_whole(folder, 10).error().code, Code::data_loss);
  EXPECT_EQ(read_or_empty(folder), "");
}

// A process that has ended but is not reaped has an entry whose command line cannot be read, or is empty.
TEST(ReadFile, AProcessThatIsGone) {
  pid_t pid = ::fork();
  if (pid == 0) ::_exit(0);
  std::ifstream held(fmt::format("/proc/{}/cmdline", pid));
  ::waitpid(pid, nullptr, 0);
  EXPECT_EQ(read_or_empty(fmt::format("/proc/{}/cmdline", pid)), "");
}

}  // namespace
}  // namespace mr
