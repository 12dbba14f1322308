#include "crypto/pki.h"

#include <sys/stat.h>

#include <chrono>

#include "temp_dir.h"

namespace mr::crypto {
namespace {

TEST(Pki, IssuesServersAndClients) {
  auto ca = make_authority("test authority");
  ASSERT_TRUE(ca);
  auto server = issue_certificate(*ca, {.common_name = "kube-apiserver",
                                        .dns_names = {"localhost", "kubernetes.default.svc", "*.example"},
                                        .addresses = {"127.0.0.1", "::1"}});
  ASSERT_TRUE(server) << server.error().message;
  auto s = read_certificate(server->certificate_pem);
  ASSERT_TRUE(s);
  EXPECT_EQ(s->common_name, "kube-apiserver");
  EXPECT_EQ(s->dns_names, (std::vector<std::string>{"localhost", "kubernetes.default.svc", "*.example"}));
  EXPECT_EQ(s->addresses, (std::vector<std::string>{"127.0.0.1", "::1"}));
  auto client =
      issue_certificate(*ca, {.common_name = "admin", .organizations = {"system:masters", "ops"}, .days = 30});
  ASSERT_TRUE(client);
  auto c = read_certificate(client->certificate_pem);
  ASSERT_TRUE(c);
  EXPECT_EQ(c->common_name, "admin");
  EXPECT_EQ(c->organizations, (std::vector<std::string>{"system:masters", "ops"}));
  auto days = (c->not_after - std::chrono::system_clock::to_time_t(std::chrono::system_clock::now())) / 86400;
  EXPECT_TRUE(days == 29 || days == 30) << days;
}

TEST(Pki, RefusesWhatNoCertificateCanHave) {
  auto ca = make_authority("test authority");
  ASSERT_TRUE(ca);
  for (const CertificateSpec& bad :
       {CertificateSpec{.common_name = "x", .dns_names = {"a b"}},
        CertificateSpec{.common_name = "x", .dns_names = {""}},
        CertificateSpec{.common_name = "x", .addresses = {"1.2.3"}},
        CertificateSpec{.common_name = std::string(70, 'x')}, CertificateSpec{.common_name = ""}})
    EXPECT_EQ(issue_certificate(*ca, bad).error().code, Code::invalid_argument) << bad.common_name;
  EXPECT_EQ(issue_certificate({"", ""}, {.common_name = "x"}).error().code, Code::invalid_argument);
  EXPECT_FALSE(read_certificate("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"));
  EXPECT_FALSE(read_certificate(""));
}

TEST(Pki, APairIsMadeOnceAndPrivate) {
  testing::TempDir dir;
  auto prefix = dir.path() + "/ca";
  int made = 0;
  auto make = [&] {
    ++made;
    return make_authority("a");
  };
  auto first = load_or_make_pair(prefix, make);
  ASSERT_TRUE(first) << first.error().message;
  auto second = load_or_make_pair(prefix, make);
  ASSERT_TRUE(second);
  EXPECT_EQ(made, 1);
  EXPECT_EQ(first->certificate_pem, second->certificate_pem);
  EXPECT_EQ(first->key_pem, second->key_pem);
  struct stat st{};
  ASSERT_EQ(::stat((prefix + ".key").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0600U);

  // A lost key is said, not made anew; a foreign one is noticed.
  ASSERT_EQ(::unlink((prefix + ".key").c_str()), 0);
  EXPECT_EQ(load_or_make_pair(prefix, make).error().code, Code::failed_precondition);
  auto other = make_authority("b");
  ASSERT_TRUE(write_private_file(prefix + ".key", other->key_pem));
  EXPECT_EQ(load_or_make_pair(prefix, make).error().code, Code::failed_precondition);
  EXPECT_EQ(made, 1);
}

}  // namespace
}  // namespace mr::crypto
