/**
 * The rules of the house (CONTRIBUTING.md), read off the files themselves: who imports whom, how long a file is, what a
 * test may wait for, which paths the documents name. The ids: spec.test.ts.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, normalize, relative, sep } from 'node:path'
import { expect, test } from 'vitest'
import { codeOf, filesOf, importsOf, snippetsOf } from '../support/house.ts'

const phases = ['source', 'compute', 'staging', 'commit', 'publish'] as const
/** The only ones that know every folder. */
const binders = ['src/index.ts', 'src/indexer.ts', 'src/run.ts', 'src/wiring.ts']

const isPhase = (folder: string): folder is (typeof phases)[number] => phases.includes(folder as never)

/** `staging` of `src/staging/column/text.ts`; empty for the shared files beside `index.ts`. */
function folderOf(file: string): string {
  const [top, folder, ...rest] = file.split('/')
  return top === 'src' && rest.length > 0 ? (folder ?? '') : ''
}

test('machines import nothing but xstate and each other', () => {
  const offenders = filesOf('machines').flatMap((file) =>
    importsOf(file)
      .filter(({ target }) => target !== 'xstate' && !target.startsWith('machines/'))
      .map(({ target }) => `${file} imports ${target}`),
  )
  expect(offenders).toEqual([])
})

test('folders of src import along the way of the data, never back', () => {
  const offenders = filesOf('src').flatMap((file) => {
    const from = folderOf(file)
    if (!isPhase(from)) return []
    return importsOf(file)
      .filter(({ target, isType }) => {
        const to = folderOf(target)
        if (!target.startsWith('src/')) return false
        if (to === '') return binders.includes(target)
        if (to === from) return false
        // a port may be named ahead of its phase: types leave no edge in what runs
        return isPhase(to) ? phases.indexOf(to) > phases.indexOf(from) : !isType
      })
      .map(({ target }) => `${file} imports ${target}`)
  })
  expect(offenders).toEqual([])
})

test('beside the folders only index, indexer and run tie them together', () => {
  const offenders = filesOf('src')
    .filter((file) => folderOf(file) === '' && !binders.includes(file))
    .flatMap((file) =>
      importsOf(file)
        .filter(({ target, isType }) => !isType && folderOf(target) !== '')
        .map(({ target }) => `${file} imports ${target}`),
    )
  expect(offenders).toEqual([])
})

test('the command sees the database, the inspector and the shared files, and nobody sees the command', () => {
  const offenders = [...filesOf('src'), ...filesOf('machines')].flatMap((file) =>
    importsOf(file)
      .filter(({ target }) => target.startsWith('src/') || target.startsWith('machines/'))
      .filter(({ target }) =>
        folderOf(file) === 'cli'
          ? !['cli', 'commit', 'inspect', ''].includes(folderOf(target)) || binders.includes(target)
          : folderOf(target) === 'cli',
      )
      .map(({ target }) => `${file} imports ${target}`),
  )
  expect(offenders).toEqual([])
})

test('nothing in src or machines imports tests, and only the kit imports the kit', () => {
  const offenders = [...filesOf('src'), ...filesOf('machines')].flatMap((file) =>
    importsOf(file)
      .filter(
        ({ target }) =>
          target.startsWith('test/') || (folderOf(target) === 'testing' && folderOf(file) !== 'testing'),
      )
      .map(({ target }) => `${file} imports ${target}`),
  )
  expect(offenders).toEqual([])
})

/** One picture each: what can be a file of its own (facts, events, limits, cells) already is. */
const longAsAWhole = ['test/support/model-table-indexer.ts']

test('no file has more than 400 lines; tests, which are read one by one, no more than 650', () => {
  const long = ['src', 'machines', 'docs', 'test'].flatMap((folder) =>
    filesOf(folder)
      .filter((file) => !longAsAWhole.includes(file))
      .map((file) => ({ file, lines: codeOf(file).split('\n').length - 1 }))
      .filter(({ lines }) => lines > (folder === 'test' ? 650 : 400)),
  )
  expect(long).toEqual([])
})

/** Where a length of time is what is tested: outages, staleness, moments drawn at random. */
const aboutTime = [
  'test/crash/rig/outage.ts',
  'test/crash/rig/round.ts',
  'test/indexer/ownership-processes.test.ts',
  'test/postgres/outage.test.ts',
]

test('tests wait for an event or at a gate, never for a time', () => {
  const sleepers = filesOf('test').filter(
    (file) =>
      !aboutTime.includes(file) &&
      ((file.endsWith('.test.ts') && /\bsetTimeout\s*\(/.test(codeOf(file))) ||
        /import \{[^}]*\bsetTimeout\b[^}]*\} from 'node:timers\/promises'/.test(codeOf(file))),
  )
  expect(sleepers).toEqual([])
})

test('what the documents point at exists', () => {
  const broken = ['README.md', 'CONTRIBUTING.md', ...filesOf('docs', '.md')].flatMap((document) => {
    const text = readFileSync(document, 'utf8')
    const links = [...text.matchAll(/\]\((?!https?:|#)([^)#\s]+)[^)]*\)/g)].map(([, path]) =>
      normalize(join(dirname(document), path ?? '')),
    )
    const mentioned = [...text.matchAll(/`((?:src|machines|test|docs)\/[\w./-]+\.(?:ts|md))`/g)].map(
      ([, path]) => path ?? '',
    )
    return [...links, ...mentioned]
      .filter((path) => !existsSync(path))
      .map((path) => `${document}: ${relative('.', path).split(sep).join('/')}`)
  })
  expect(broken).toEqual([])
})

test('nothing names a folder of one machine', () => {
  const personal = new RegExp(
    ['root', 'home', 'Users', 'work'].map((top) => `(?<![\\w.$}-])/${top}/\\w`).join('|'),
  )
  const files = [
    ...['src', 'machines', 'docs', 'test'].flatMap((folder) => filesOf(folder)),
    ...readdirSync('.').filter((file) => /\.(md|json|ts)$/.test(file) && file !== 'package-lock.json'),
    ...filesOf('docs', '.md'),
  ]
  expect(files.filter((file) => personal.test(codeOf(file)))).toEqual([])
})

test('the programs in the README compile', { timeout: 120_000 }, () => {
  const programs = snippetsOf('README.md')
  expect(programs.size).toBeGreaterThanOrEqual(3)
  mkdirSync('.cache', { recursive: true })
  const folder = mkdtempSync(join('.cache', 'readme-'))
  try {
    for (const [name, code] of programs) writeFileSync(join(folder, name), code)
    writeFileSync(
      join(folder, 'tsconfig.json'),
      JSON.stringify({
        extends: '../../tsconfig.json',
        compilerOptions: { rootDir: '../..' },
        include: ['*.ts'],
      }),
    )
    const tsc = join('node_modules', 'typescript', 'bin', 'tsc')
    expect(() => execFileSync(process.execPath, [tsc, '-p', folder], { stdio: 'pipe' })).not.toThrow()
  } finally {
    rmSync(folder, { recursive: true })
  }
})
