// A real OpenID Connect provider for the tests: node oidc_provider.mjs PORT CLAIMS.json REDIRECT_URI…
// Any password is right. The claims of a login are read from the file at each sign-in.
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

const [port, claims, ...addresses] = process.argv.slice(2);
const require = createRequire(`${process.cwd()}/`);
const { default: Provider } = await import(pathToFileURL(require.resolve('oidc-provider')));
const issuer = `http://127.0.0.1:${port}`;

const provider = new Provider(issuer, {
  clients: [{
    client_id: 'hypervisor',
    client_secret: 'a secret of the tests, long enough',
    redirect_uris: addresses.map((address) => `${address}/account/provider/callback/`),
    post_logout_redirect_uris: addresses.map((address) => `${address}/account/sign-in/`),
  }],
  pkce: { required: () => true },
  scopes: ['openid', 'profile', 'email'],
  claims: {
    openid: ['sub', 'groups'],
    profile: ['preferred_username'],
    email: ['email', 'email_verified'],
  },
  features: { rpInitiatedLogout: { enabled: true }, devInteractions: { enabled: true } },
  findAccount: (context, login) => ({
    accountId: login,
    claims: () => ({ sub: login, ...JSON.parse(readFileSync(claims, 'utf8'))[login] }),
  }),
});
provider.listen(Number(port), '127.0.0.1', () => process.stdout.write('listening\n'));
