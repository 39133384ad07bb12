/**
 * The page of a commit, where its repository has one at the usual place (GitHub, GitLab, Gitea, Forgejo); `null` for another kind of address.
 * Credentials in the address are left out.
 * @param repository as a build writes it down: `https://git.example.org/fraud.git`
 */
export function commitPage(repository: string, commit: string): string | null {
  const [, scheme, host, path] = /^(https?):\/\/(?:[^/@\s]*@)?([^/?#@\s]+)\/([^?#@\s]+)$/i.exec(repository) ?? [];
  const name = path?.replace(/\/+$/, '').replace(/\.git$/, '') ?? '';
  if (name === '' || !/^[0-9a-f]{7,64}$/i.test(commit)) return null;
  return `${scheme}://${host}/${name}/commit/${commit}`;
}
