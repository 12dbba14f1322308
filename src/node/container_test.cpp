#include "node/container.h"

#include <gtest/gtest.h>

namespace mr::node {
namespace {

using Words = std::vector<std::string>;

Engine podman() {
  return {.program = "/usr/bin/podman",
          .podman = true,
          .version = "4.3.1",
          .before = {"--runtime", "/usr/bin/runc"},
          .memory = true,
          .cpus = true};
}
Engine docker() {
  return {.program = "/usr/bin/docker", .podman = false, .version = "28", .memory = true, .cpus = true};
}

// Where these words stand one after the other.
bool has(const Words& argv, const Words& wanted) { return std::ranges::search(argv, wanted).begin() != argv.end(); }
bool has_word(const Words& argv, std::string_view word) { return std::ranges::find(argv, word) != argv.end(); }
Words behind_dashes(const Words& argv) {
  auto at = std::ranges::find(argv, "--");
  return at == argv.end() ? Words{} : Words(at + 1, argv.end());
}

TEST(ContainerCommand, ACommandReplacesTheImagesOwnAndArgumentsFollow) {
  ContainerSpec s{.name = "n", .image = "sha256:1"};
  EXPECT_EQ(behind_dashes(create_command(podman(), s).argv), Words{"sha256:1"});
  s.args = {"a", "--b"};
  auto c = create_command(podman(), s);
  EXPECT_EQ(behind_dashes(c.argv), (Words{"sha256:1", "a", "--b"}));
  EXPECT_FALSE(has_word(c.argv, "--entrypoint"));
  s.command = {"sh", "-c"};
  c = create_command(podman(), s);
  EXPECT_TRUE(has(c.argv, {"--entrypoint", "sh"}));
  EXPECT_EQ(behind_dashes(c.argv), (Words{"sha256:1", "-c", "a", "--b"}));
}

TEST(ContainerCommand, TheEngineIsAskedInItsOwnWords) {
  ContainerSpec s{.name = "n", .image = "i", .read_only_root = true};
  auto p = create_command(podman(), s).argv;
  EXPECT_EQ(Words(p.begin(), p.begin() + 4), (Words{"/usr/bin/podman", "--runtime", "/usr/bin/runc", "create"}));
  EXPECT_TRUE(has(p, {"--name", "n", "--pull", "never", "--network", "host"}));
  EXPECT_TRUE(has(p, {"--read-only", "--read-only-tmpfs=false"}));
  EXPECT_TRUE(has_word(p, "--http-proxy=false"));
  auto d = create_command(docker(), s).argv;
  EXPECT_EQ(Words(d.begin(), d.begin() + 2), (Words{"/usr/bin/docker", "create"}));
  for (std::string_view own : {"--http-proxy=false", "--systemd=false", "--read-only-tmpfs=false", "--ulimit"})
    EXPECT_FALSE(has_word(d, own)) << own;
}

TEST(ContainerCommand, ValuesOfVariablesStayOutOfCommandLinesWhereTheyCan) {
  ContainerSpec s{.name = "n", .image = "i"};
  s.env = {{"PASSWORD", "hidden\nin two lines"}, {"PATH", "/bin"}, {"LD_PRELOAD", "/x.so"}, {"A*", "b"}, {"EMPTY", ""}};
  auto c = create_command(podman(), s);
  EXPECT_TRUE(has(c.argv, {"--env", "PASSWORD"}));
  EXPECT_TRUE(has_word(c.env, "PASSWORD=hidden\nin two lines"));
  EXPECT_TRUE(has(c.argv, {"--env", "EMPTY"}));
  EXPECT_TRUE(has_word(c.env, "EMPTY="));
  // These would change the client itself.
  for (const char* one : {"PATH=/bin", "LD_PRELOAD=/x.so", "A*=b"}) {
    EXPECT_TRUE(has(c.argv, {"--env", one})) << one;
    EXPECT_FALSE(has_word(c.env, one)) << one;
  }
}

TEST(ContainerCommand, MountsWithColonsAreSpelledOut) {
  ContainerSpec s{.name = "n", .image = "i", .hosts_file = "/d/hosts"};
  s.mounts = {{"/a", "/b", true}, {"/c", "/d", false}, {"/e:f", "/g", true}};
  auto a = create_command(podman(), s).argv;
  EXPECT_TRUE(has(a, {"--volume", "/d/hosts:/etc/hosts", "--volume", "/a:/b:ro", "--volume", "/c:/d"}));
  EXPECT_TRUE(has(a, {"--mount", "type=bind,source=/e:f,destination=/g,ro=true"}));
}

TEST(ContainerCommand, UsersRightsAndStreams) {
  ContainerSpec s{.name = "n", .image = "i", .uid = 7};
  EXPECT_TRUE(has(create_command(podman(), s).argv, {"--user", "7"}));
  s.gid = 8;
  s.groups = {9};
  s.add_capabilities = {"NET_ADMIN"};
  s.drop_capabilities = {"ALL"};
  s.no_new_privileges = s.terminal = s.in = true;
  auto a = create_command(podman(), s).argv;
  EXPECT_TRUE(has(a, {"--user", "7:8", "--group-add", "9", "--cap-add", "NET_ADMIN", "--cap-drop", "ALL"}));
  EXPECT_TRUE(has(a, {"--security-opt", "no-new-privileges"}));
  EXPECT_TRUE(has(a, {"--tty", "--interactive"}));
  EXPECT_FALSE(has_word(a, "--privileged"));
  s.uid.reset();
  EXPECT_TRUE(has(create_command(podman(), s).argv, {"--user", "0:8"}));
}

TEST(ContainerCommand, LimitsAreTheEnginesUnlessAGroupOfOursHasThem) {
  ContainerSpec s{.name = "n", .image = "i"};
  s.limits = {.cpus = 0.5, .memory = 1 << 20};
  auto a = create_command(podman(), s).argv;
  EXPECT_TRUE(has(a, {"--memory", "1048576b", "--memory-swap", "1048576b"}));
  EXPECT_TRUE(has(a, {"--cpu-period", "100000", "--cpu-quota", "50000"}));
  auto weak = podman();
  weak.memory = weak.cpus = false;
  a = create_command(weak, s).argv;
  EXPECT_FALSE(has_word(a, "--memory") || has_word(a, "--cpu-quota"));
  s.group = "/millrace-x";
  a = create_command(podman(), s).argv;
  EXPECT_TRUE(has(a, {"--cgroup-parent", "/millrace-x"}));
  EXPECT_FALSE(has_word(a, "--memory") || has_word(a, "--cpu-quota"));
}

TEST(ContainerCommand, ExecAndStart) {
  EXPECT_EQ(exec_command(docker(), "n", {"sh", "-c", "x y"}, true, false).argv,
            (Words{"/usr/bin/docker", "exec", "--interactive", "n", "sh", "-c", "x y"}));
  EXPECT_EQ(exec_command(docker(), "n", {"sh"}, false, true).argv,
            (Words{"/usr/bin/docker", "exec", "--tty", "--env", "TERM=xterm-256color", "n", "sh"}));
  EXPECT_TRUE(has(exec_command(podman(), "n", {"true"}, false, false, "m").argv, {"--env", "MILLRACE_PROBE=m", "n"}));
  EXPECT_EQ(start_command(docker(), "n", true).argv,
            (Words{"/usr/bin/docker", "start", "--attach", "--interactive", "n"}));
}

TEST(ContainerNames, ImagesAreNamedInFull) {
  EXPECT_EQ(full_image_name("nginx:1.27"), "docker.io/library/nginx:1.27");
  EXPECT_EQ(full_image_name("team/app"), "docker.io/team/app");
  EXPECT_EQ(full_image_name("ghcr.io/a/b:1"), "ghcr.io/a/b:1");
  EXPECT_EQ(full_image_name("127.0.0.1:5000/a"), "127.0.0.1:5000/a");
  EXPECT_EQ(full_image_name("localhost/a"), "localhost/a");
}

TEST(ContainerWords, TheLastLineThatIsNoWarning) {
  EXPECT_EQ(engine_words("time=\"x\" level=warning msg=\"again\"\nError: reading manifest 2: manifest unknown\n"),
            "reading manifest 2: manifest unknown");
  EXPECT_EQ(engine_words("Error response from daemon: no such image\n"), "no such image");
  EXPECT_EQ(engine_words(""), "");
}

TEST(ContainerEngine, NoneIsAChoice) {
  auto none = find_engine("none");
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().reason, "ErrImagePull");
}

}  // namespace
}  // namespace mr::node
