/** Light or dark: as the system says, or as the button was left last. */
import { byId } from './dom.ts'

export function theme(changed: () => void): void {
  const button = byId<HTMLButtonElement>('theme')
  const system = matchMedia('(prefers-color-scheme: dark)')
  const chosen = new URL(location.href).searchParams.get('theme') ?? kept()
  const apply = (dark: boolean): void => {
    document.documentElement.dataset['theme'] = dark ? 'dark' : 'light'
    button.setAttribute('aria-pressed', String(dark))
    changed()
  }
  let isChosen = chosen === 'dark' || chosen === 'light'
  apply(isChosen ? chosen === 'dark' : system.matches)
  system.addEventListener('change', () => {
    if (!isChosen) apply(system.matches)
  })
  button.addEventListener('click', () => {
    isChosen = true
    const dark = document.documentElement.dataset['theme'] !== 'dark'
    apply(dark)
    try {
      localStorage.setItem('tailrace-theme', dark ? 'dark' : 'light')
    } catch {
      // a browser that keeps nothing
    }
  })
}

function kept(): string | null {
  try {
    return localStorage.getItem('tailrace-theme')
  } catch {
    return null
  }
}
